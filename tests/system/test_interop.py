"""Together with the Python implementation of the distribution's package: its
patronictl against our nodes, ours against its nodes, and clusters of both."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from cluster import BUILD, Cluster, wait_for
from ledger import Ledger

PATRONI = shutil.which("patroni", path="/usr/bin:/usr/local/bin")
PATRONICTL = shutil.which("patronictl", path="/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(
    not (PATRONI and PATRONICTL and pathlib.Path(PATRONI).read_bytes()[:2] == b"#!"),
    reason="the package patroni of the distribution is not installed")


def tool(program, cluster, *arguments, text=None, node="a"):
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run([str(program), "-c", str(cluster[node].config), *arguments],
                          capture_output=True, text=True, timeout=120, input=text, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def theirs(cluster, *arguments, **options):
    return tool(PATRONICTL, cluster, *arguments, **options)


def ours(cluster, *arguments, **options):
    return tool(BUILD / "patronictl", cluster, *arguments, **options)


def both(cluster, *arguments, **options):
    """Both tools must work; ours is returned."""
    assert theirs(cluster, *arguments, **options) is not None
    return ours(cluster, *arguments, **options)


def start_theirs(node):
    """Run the node with the Python daemon."""
    assert node.process is None or node.process.poll() is not None
    with open(node.log, "ab") as log:
        node.process = subprocess.Popen(
            [PATRONI, str(node.config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            cwd=node.dir, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
            start_new_session=True)
    return node


def replica(cluster):
    return next(n for n in cluster.nodes if n is not cluster.wait_leader())


def streaming(cluster, count):
    """The leader, once that many standbys stream from it."""
    leader = cluster.wait_leader()
    wait_for(f"{count} standbys of {leader.name}", lambda: cluster.wait_leader().sql(
        "select count(*) from pg_stat_replication where state = 'streaming'")[0][0] >= count, 90)
    return cluster.wait_leader()


def settled(cluster, count):
    """Like streaming, and every member key says so too."""
    leader = streaming(cluster, count)

    def known():
        rows = json.loads(ours(cluster, "list", "-f", "json"))
        return len(rows) == count + 1 and all(
            r["State"] in ("running", "streaming") and r.get("TL") for r in rows)
    wait_for("the member keys", known, 60)
    return leader


# -- their tool, our nodes


def test_their_tool_with_our_nodes():
    with Cluster(3, dcs={"loop_wait": 2, "ttl": 20}) as cluster:
        cluster.start()
        leader = settled(cluster, 2)
        rows = json.loads(theirs(cluster, "list", "-f", "json"))
        assert {r["Member"]: r["Role"] for r in rows} == {
            n.name: "Leader" if n is leader else "Replica" for n in cluster.nodes}
        assert "+ " + replica(cluster).name in theirs(cluster, "topology")

        target = replica(cluster)
        out = theirs(cluster, "switchover", "--candidate", target.name, "--force")
        assert f'Successfully switched over to "{target.name}"' in out
        assert settled(cluster, 2) is target

        out = theirs(cluster, "edit-config", "-p", "work_mem=7MB", "--force")
        assert "Configuration changed" in out
        wait_for("the setting", lambda: target.sql("show work_mem")[0][0] == "7MB")
        assert theirs(cluster, "show-config") == ours(cluster, "show-config")

        assert "Success: cluster management is paused" in theirs(cluster, "pause", "--wait")
        assert "Maintenance mode: on" in theirs(cluster, "list")
        assert "Success: cluster management is resumed" in theirs(cluster, "resume", "--wait")

        standby = replica(cluster)
        before = standby.postmaster()
        out = theirs(cluster, "restart", "test", standby.name, "--force")
        assert f"Success: restart on member {standby.name}" in out
        assert standby.postmaster() != before
        out = theirs(cluster, "restart", "test", standby.name, "--force", "--scheduled",
                     "2035-01-01T00:00:00+00:00")
        assert f"Success: restart scheduled on member {standby.name}" in out
        wait_for("the schedule", lambda: "2035-01-01" in theirs(cluster, "list", "-e"))
        out = theirs(cluster, "flush", "test", standby.name, "restart", "--force")
        assert f"Success: flush scheduled restart for member {standby.name}" in out
        out = theirs(cluster, "reinit", "test", standby.name, "--force", "--wait")
        assert f"Success: reinitialize for member {standby.name}" in out
        settled(cluster, 2)
        out = theirs(cluster, "reload", "test", "--force")
        assert "Reload request received for member a" in out
        assert re.search(r"^a: Patroni \d\S+ PostgreSQL \d+", theirs(cluster, "version", "test"),
                         re.M)
        assert f" {target.name} " in theirs(cluster, "history")


# -- our tool, their nodes


def test_our_tool_with_their_nodes():
    with Cluster(2, dcs={"loop_wait": 2, "ttl": 20}) as cluster:
        start_theirs(cluster["a"])
        wait_for("the first node to lead", cluster["a"].is_leader, 90)
        start_theirs(cluster["b"])
        assert settled(cluster, 1).name == "a"
        rows = json.loads(ours(cluster, "list", "-f", "json"))
        assert [(r["Member"], r["Role"]) for r in rows] == [("a", "Leader"), ("b", "Replica")]
        assert "+ b" in ours(cluster, "topology")

        out = ours(cluster, "switchover", "--candidate", "b", "--force")
        assert 'Successfully switched over to "b"' in out
        assert settled(cluster, 1).name == "b"
        out = ours(cluster, "failover", "--candidate", "a", "--force")
        assert 'Successfully failed over to "a"' in out
        assert settled(cluster, 1).name == "a"

        ours(cluster, "edit-config", "-p", "work_mem=7MB", "--force")
        wait_for("the setting", lambda: cluster["a"].sql("show work_mem")[0][0] == "7MB")
        assert theirs(cluster, "show-config") == ours(cluster, "show-config")
        assert "Success: cluster management is paused" in ours(cluster, "pause", "--wait")
        assert "Success: cluster management is resumed" in ours(cluster, "resume", "--wait")
        assert "Success: restart on member b" in ours(cluster, "restart", "test", "b", "--force")
        assert "Reinitialize is completed on: b" in ours(
            cluster, "reinit", "test", "b", "--force", "--wait")
        settled(cluster, 1)
        assert re.search(r"^b: Patroni 3\.\S+ PostgreSQL \d+", ours(cluster, "version", "test"),
                         re.M)
        assert re.search(r"\| (a|b) +\|$", ours(cluster, "history"), re.M)
        assert theirs(cluster, "dsn") == ours(cluster, "dsn")


# -- clusters of both


def stop_hard(node):
    """kill -9 of everything of a node of either kind."""
    node.kill_tree()
    wait_for("its PostgreSQL to end", lambda: node.postmaster() is None)


def count(cluster):
    return cluster.wait_leader().sql("select count(*) from rows")[0][0]


def test_mixed_cluster_fails_over_in_both_directions():
    with Cluster(3, dcs={"loop_wait": 2, "ttl": 20, "retry_timeout": 3}) as cluster:
        a, b, c = cluster.nodes
        a.start()
        wait_for("the first node to lead", a.is_leader, 90)
        start_theirs(b)
        start_theirs(c)
        leader = settled(cluster, 2)
        assert leader is a
        a.sql("create table rows (n int)")
        a.sql("insert into rows select generate_series(1, 100)")
        both(cluster, "list")
        # ours dies: one of theirs takes over
        stop_hard(a)
        leader = cluster.wait_leader(other_than=a)
        assert leader in (b, c)
        assert count(cluster) == 100
        # ours comes back as a standby of theirs
        a.start()
        settled(cluster, 2)
        leader.sql("insert into rows select generate_series(1, 100)")
        wait_for("the rows on ours", lambda: a.sql("select count(*) from rows")[0][0] == 200)
        # and takes over from theirs by order of their tool …
        out = theirs(cluster, "switchover", "--candidate", "a", "--force")
        assert 'Successfully switched over to "a"' in out
        assert settled(cluster, 2) is a
        out = ours(cluster, "switchover", "--candidate", "b", "--force")
        assert 'Successfully switched over to "b"' in out
        assert settled(cluster, 2) is b
        # … and by the death of theirs, when no other is left
        c.terminate()
        stop_hard(b)
        assert cluster.wait_leader(other_than=b) is a
        assert count(cluster) == 200


def test_take_over_in_a_pause_without_a_restart_of_postgres():
    """In maintenance mode a daemon of either kind leaves PostgreSQL running when
    it is stopped, and one of the other kind attaches to it."""
    with Cluster(2, dcs={"loop_wait": 2, "ttl": 20}) as cluster:
        a, b = cluster.nodes
        start_theirs(a)
        wait_for("the first node to lead", a.is_leader, 90)
        start_theirs(b)
        settled(cluster, 1)
        postmasters = [n.postmaster() for n in (a, b)]
        for start in (lambda n: n.start(), start_theirs):
            ours(cluster, "pause", "--wait")
            for node in (b, a):
                node.terminate()
                start(node)
                wait_for(f"{node.name} to answer", lambda n=node: n.patroni()["state"] == "running",
                         60)
            settled(cluster, 1)
            wait_for("the leader", a.is_leader, 60)
            ours(cluster, "resume", "--wait")
            settled(cluster, 1)
            assert [n.postmaster() for n in (a, b)] == postmasters
        assert a.is_leader()


def synchronous_standby(cluster):
    """The node that may take over, once the store names one."""
    leader = cluster.wait_leader()

    def named():
        sync = json.loads(cluster.etcd.get("/service/test/sync")[0] or "{}")
        return sync.get("leader") == leader.name and sync.get("sync_standby")
    name = wait_for("a synchronous standby", named, 60).split(",")[0]
    return cluster[name]


def written(ledger, more):
    """So many rows more are acknowledged."""
    wanted = len(ledger.acknowledged) + more
    wait_for(f"{more} acknowledged rows", lambda: len(ledger.acknowledged) >= wanted, 60)


def replace(cluster, ledger, node, start):
    """Stop a node in the ordinary way and start it as the other kind, while a
    client writes all the time."""
    if cluster.wait_leader() is node:
        other = synchronous_standby(cluster)
        out = ours(cluster, "switchover", "--candidate", other.name, "--force")
        assert f'Successfully switched over to "{other.name}"' in out
        settled(cluster, len(cluster.nodes) - 1)
        synchronous_standby(cluster)
    written(ledger, 20)
    node.terminate()
    written(ledger, 20)
    start(node)
    settled(cluster, len(cluster.nodes) - 1)
    synchronous_standby(cluster)
    written(ledger, 20)


def check_rows(cluster, ledger):
    """Every acknowledged row is on the leader, and reaches the others."""
    assert ledger.lost(cluster.wait_leader()) == []
    for node in cluster.nodes:
        wait_for(f"the rows on {node.name}", lambda n=node: ledger.lost(n) == [], 60)


def test_rolling_replacement_forth_and_back_under_load():
    with Cluster(3, dcs={"loop_wait": 2, "ttl": 20, "retry_timeout": 3,
                         "synchronous_mode": True}) as cluster:
        nodes = cluster.nodes
        start_theirs(nodes[0])
        wait_for("the first node to lead", nodes[0].is_leader, 90)
        for node in nodes[1:]:
            start_theirs(node)
        settled(cluster, 2)
        synchronous_standby(cluster)
        with Ledger(cluster) as ledger:
            for node in nodes:
                replace(cluster, ledger, node, lambda n: n.start())
            kinds = {n.name: n.patroni()["patroni"]["version"] for n in nodes}
            assert all(not v.startswith("3.") for v in kinds.values()), kinds
            # all of ours: one that dies takes nothing with it
            leader = cluster.wait_leader()
            stop_hard(leader)
            cluster.wait_leader(other_than=leader)
            written(ledger, 20)
            leader.start()
            settled(cluster, 2)
            synchronous_standby(cluster)
            for node in nodes:
                replace(cluster, ledger, node, start_theirs)
            kinds = {n.name: n.patroni()["patroni"]["version"] for n in nodes}
            assert all(v.startswith("3.") for v in kinds.values()), kinds
            ledger.stop()
            assert len(ledger.acknowledged) >= 360
            check_rows(cluster, ledger)
            print(f"{len(ledger.acknowledged)} rows acknowledged, "
                  f"{ledger.errors} writes refused or unknown, none lost")
