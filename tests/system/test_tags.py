"""Tags and options that steer who follows whom and who leads, on three real
servers, one after the other (ha.md 4, 6, 11, 18, 19).
"""
import datetime
import json
import signal

import pytest

from cluster import Cluster, wait_for
from ledger import Ledger


@pytest.fixture(scope="module", name="trio")
def fixture_trio():
    """Three nodes; each test leaves them healthy and without tags."""
    with Cluster(3, dcs={"loop_wait": 2, "retry_timeout": 3}) as cluster:
        cluster.start()
        cluster.wait_leader().sql("create table t (n int)")
        yield cluster


def tag(cluster, node, **tags):
    node.write_config(tags)
    node.signal(signal.SIGHUP)
    wait_for("the tags in the store", lambda: json.loads(cluster.etcd.get(
        f"/service/test/members/{node.name}")[0]).get("tags", {}) == tags, 30)


def walsenders(node):
    return {r[0] for r in node.sql(
        "select application_name from pg_stat_replication where state = 'streaming'")}


def arrives(source, value, *nodes):
    source.sql("insert into t values (%s)", value)
    for node in nodes:
        wait_for(f"{value} on {node.name}", lambda node=node: (value,) in node.sql(
            "select n from t"), 60)


def test_cascade(trio):
    """A replica follows another one, the leader while that is away, and that
    one again (ha.md 6.1)."""
    leader = trio.wait_leader()
    upstream, node = trio.replicas()
    tag(trio, node, replicatefrom=upstream.name)
    wait_for("the cascade", lambda: walsenders(upstream) == {node.name}, 60)
    wait_for("no direct stream", lambda: walsenders(leader) == {upstream.name}, 30)
    arrives(leader, 1, upstream, node)
    assert upstream.terminate() == 0
    wait_for("the leader to be followed", lambda: walsenders(leader) == {node.name}, 60)
    arrives(leader, 2, node)
    upstream.start()
    wait_for("the cascade again", lambda: walsenders(upstream) == {node.name}, 60)
    arrives(leader, 3, upstream, node)
    # the upstream is promoted: it is followed still, as the leader now
    assert leader.rest("/switchover", "POST", {
        "leader": leader.name, "candidate": upstream.name})[0] == 200
    assert trio.wait_leader() is upstream
    wait_for("both replicas", lambda: walsenders(upstream) == {node.name, leader.name}, 60)
    arrives(upstream, 4, node, leader)
    tag(trio, node)
    trio.wait_healthy()


def test_nostream(trio):
    """It gets nothing over the network, and after a while no slot is kept for
    it (ha.md 6.1, 7.5, 19)."""
    leader = trio.wait_leader()
    assert leader.rest("/config", "PATCH", {"member_slots_ttl": 5})[0] == 200
    node = trio.replicas()[0]
    tag(trio, node, nostream=True)
    wait_for("no connection", lambda: node.name not in walsenders(leader), 60)
    wait_for("no slot", lambda: leader.sql(
        "select 1 from pg_replication_slots where slot_name = %s", node.name) == [], 60)
    assert node.sql("show primary_conninfo") == [("",)]
    leader.sql("insert into t values (11)")
    assert (11,) not in node.sql("select n from t")
    assert leader.rest("/config", "PATCH", {"member_slots_ttl": None})[0] == 200
    tag(trio, node)
    trio.wait_healthy()
    arrives(leader, 12, node)


def test_priority(trio):
    """At equal positions the higher priority leads (ha.md 11.2, 11.5)."""
    old = trio.wait_leader()
    first, second = trio.replicas()
    tag(trio, second, failover_priority=5)
    start = first.log_end()
    arrives(old, 21, first, second)
    assert old.terminate() == 0
    assert trio.wait_leader(other_than=old) is second
    old.start()
    trio.wait_healthy()
    # only whoever asked before it was decided says so
    said = first.logged("equally tolerable WAL position and priority 5, while this node has "
                        "priority 1", start)
    assert said or not first.logged("promoted self", start)
    tag(trio, second)


def test_nofailover(trio):
    """It stays behind, even when it is the only one left (ha.md 11.1)."""
    old = trio.wait_leader()
    tagged, other = trio.replicas()
    tag(trio, tagged, nofailover=True)
    assert other.terminate() == 0
    start = tagged.log_end()
    old.kill_tree()
    wait_for("the expiry of the lock", lambda: trio.leader_key()[0] is None, 60)
    wait_for("a few cycles", lambda: len(tagged.logged(
        "following a different leader because I am not allowed to promote", start)) >= 3, 60)
    assert trio.leader() is None and not tagged.writable()
    other.start()
    assert trio.wait_leader() is other
    old.start()
    tag(trio, tagged)
    trio.wait_healthy()


def test_race_backoff(trio):
    """The manager of the primary dies alone: PostgreSQL still writes, so the
    others wait, and the manager that returns goes on with it (ha.md 4)."""
    old = trio.wait_leader()
    assert old.rest("/config", "PATCH", {"primary_race_backoff": 60})[0] == 200
    others = trio.replicas()
    for node in others:
        wait_for("the setting", lambda node=node: "primary_race_backoff" in node.rest(
            "/config")[1], 30)
    marks = {n: n.log_end() for n in trio.nodes}
    with Ledger(trio) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)
        postmaster = old.postmaster()
        old.kill_tree(also_postgres=False)
        for node in others:
            wait_for("the backoff", lambda node=node: node.logged(
                r"wal position moved since last heart beat loop, \d+ seconds until leader race",
                marks[node]), 60)
        count = len(ledger.acknowledged)
        wait_for("further rows", lambda: len(ledger.acknowledged) > count + 20)
        old.start()
        assert trio.wait_leader() is old
        assert old.postmaster() == postmaster
        assert not any(n.logged("promoted self", marks[n]) for n in others)
        ledger.stop()
        assert ledger.lost(old) == []
    assert old.rest("/config", "PATCH", {"primary_race_backoff": None})[0] == 200
    trio.wait_healthy()


def test_scheduled_restart(trio):
    """At its time, of the leader too, which keeps the lock (ha.md 18.2)."""
    leader, key = trio.wait_leader(), trio.leader_key()
    before, start = leader.postmaster(), leader.log_end()
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=6)
    assert leader.rest("/restart", "POST", {"schedule": at.isoformat()}) == (
        202, "Restart scheduled")
    wait_for("the plan in the store", lambda: "scheduled_restart" in trio.etcd.get(
        f"/service/test/members/{leader.name}")[0], 20)
    wait_for("the restart", lambda: leader.logged("Manual scheduled restart at", start), 30)
    late = (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()
    assert 0 <= late < 3
    wait_for("another postmaster", lambda: leader.postmaster() not in (None, before), 30)
    trio.wait_healthy()
    assert trio.leader_key() == key
    wait_for("no plan", lambda: "scheduled_restart" not in trio.etcd.get(
        f"/service/test/members/{leader.name}")[0], 20)


def test_reinitialize_during_failover(trio):
    """The leader dies while a replica copies from it: the replica copies from
    the next one (ha.md 18.3)."""
    old = trio.wait_leader()
    node, other = trio.replicas()
    old.sql("create table big as select n, repeat('x', 500) from generate_series(1, 100000) n")
    assert node.rest("/reinitialize", "POST", {})[0] == 200
    wait_for("the copy to begin", lambda: node.patroni()["state"] == "creating replica", 30)
    old.kill_tree()
    assert trio.wait_leader(other_than=old) is other
    wait_for("the replica to stream", node.streams, 120)
    old.start()
    trio.wait_healthy()
    arrives(other, 31, node, old)
