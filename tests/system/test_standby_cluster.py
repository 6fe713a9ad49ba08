"""A standby cluster of two nodes beside a primary cluster of two; the two
change places and back, with the control tool (ha.md 17).
"""
import subprocess

import psycopg2
import pytest

from cluster import BUILD, Cluster, wait_for

TIMES = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}


@pytest.fixture(scope="module", name="sites")
def fixture_sites():
    """(primary cluster, standby cluster)"""
    with Cluster(2, dcs=TIMES) as main:
        main.start()
        leader = main.wait_leader()
        leader.sql("create table t (n int)")
        with Cluster(2, dcs={**TIMES, "standby_cluster": remote(leader)}) as copy:
            first, second = copy.nodes
            first.start()
            wait_for("the standby leader", lambda: standby_leader(copy) is first, 90)
            second.start()
            follow(main, copy)
            yield main, copy


def remote(node):
    return {"host": "127.0.0.1", "port": node.pg_port}


def standby_leader(cluster):
    """The node that the store names and that calls itself standby leader."""
    name = cluster.leader_key()[0]
    return next((n for n in cluster.running()
                 if n.name == name and n.status("/standby-leader") == 200), None)


def walsenders(node):
    return {r[0] for r in node.sql(
        "select application_name from pg_stat_replication where state = 'streaming'")}


def follow(main, copy):
    """One node of the copy streams from the primary, the other from that one,
    and what is written to the primary gets to both; returns the first."""
    leader = main.wait_leader()
    first = wait_for("a standby leader", lambda: standby_leader(copy), 90)
    second = next(n for n in copy.nodes if n is not first)
    wait_for("the stream of the standby leader", lambda: first.name in walsenders(leader), 90)
    wait_for("the cascade", lambda: walsenders(first) == {second.name}, 90)
    value = leader.sql("insert into t select coalesce(max(n), 0) + 1 from t returning n")[0]
    for node in (first, second):
        wait_for(f"the row on {node.name}", lambda node=node: value in node.sql(
            "select n from t"), 60)
        with pytest.raises(psycopg2.Error):
            node.sql("insert into t values (-1)")
    return first


def ctl(cluster, *arguments):
    return subprocess.run(
        [str(BUILD / "patronictl"), "-c", str(cluster.nodes[0].config), *arguments],
        capture_output=True, text=True, timeout=120, check=True).stdout


def test_standby_leader_dies(sites):
    """The other one follows the primary; the first comes back behind it."""
    main, copy = sites
    first = follow(main, copy)
    second = next(n for n in copy.nodes if n is not first)
    assert first.terminate() == 0
    wait_for("the other standby leader", lambda: standby_leader(copy) is second, 60)
    first.start()
    assert follow(main, copy) is second


def test_switchover_of_standby_leader(sites):
    main, copy = sites
    first = follow(main, copy)
    second = next(n for n in copy.nodes if n is not first)
    assert first.rest("/switchover", "POST", {
        "leader": first.name, "candidate": second.name}, timeout=60)[0] == 200
    assert follow(main, copy) is second


def test_change_places(sites):
    """promote-cluster there, demote-cluster here: a node that has the
    shutdown checkpoint takes the key over early, and both nodes are rewound to
    the new primary where they have to be; then all the way back."""
    main, copy = sites
    follow(main, copy)
    for old, new in ((main, copy), (copy, main)):
        ctl(new, "promote-cluster", "test", "--force")
        primary = new.wait_leader()
        before = old.wait_leader()
        primary.sql("insert into t values (100)")
        before.sql("create table lost_%s ()" % before.pg_port)
        others = {n.name for n in old.nodes if n is not before}
        wait_for("the other one's stream", lambda b=before, o=others: walsenders(b) >= o, 60)
        marks = {n: n.log_end() for n in old.nodes}
        ctl(old, "demote-cluster", "test", "--host", "127.0.0.1",
            "--port", str(primary.pg_port), "--force")
        assert before.logged("Demoting self \\(demote-cluster\\)", marks[before])
        first = follow(new, old)
        wait_for("the end of the demotion", lambda: before.logged(
            "Not archiving latest checkpoint WAL file", marks[before]), 30)
        # the other one had the shutdown checkpoint: it got the key
        assert first is not before
        assert before.logged("Leader key released", marks[before])
        for node in old.nodes:
            assert node.sql("select count(*) from t where n = 100") == primary.sql(
                "select count(*) from t where n = 100")
            assert node.sql("select to_regclass('lost_%s')" % before.pg_port) == [(None,)]


def test_demotion_with_archive(tmp_path):
    """With archiving the key stays, and the file with the shutdown checkpoint
    is handed over before the node follows (ha.md 9.2, 17.3)."""
    archive = tmp_path / "archive"
    archive.mkdir()
    parameters = {"archive_mode": "on", "archive_command": f"test ! -f {archive}/%f && "
                  f"cp %p {archive}/%f"}
    with Cluster(1, dcs=TIMES) as other, Cluster(
            1, dcs=TIMES, extra={"postgresql": {"parameters": parameters}}) as main:
        node = main.nodes[0].start()
        wait_for("the leader", node.is_leader, 90)
        goal = other.nodes[0].start()
        wait_for("the other leader", goal.is_leader, 90)
        key, start = main.leader_key(), node.log_end()
        assert node.rest("/config", "PATCH", {"standby_cluster": {
            "restore_command": f"cp {archive}/%f %p"}})[0] == 200
        wait_for("the standby leader", lambda: standby_leader(main) is node, 60)
        assert main.leader_key() == key
        assert not node.logged("Leader key released", start)
        names = node.logged("Trying to archive (\\w+):", start)
        assert names and (archive / names[-1]).exists()
        redo = node.sql("select redo_wal_file from pg_control_checkpoint()")[0][0]
        assert (archive / redo).exists()
