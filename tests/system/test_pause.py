"""What operators do to PostgreSQL by hand while the cluster is paused, and
what the nodes make of it on resume (ha.md 6, 16).
"""
import signal
import subprocess

import pytest

from cluster import PG_BIN, Cluster, wait_for


@pytest.fixture(scope="module")
def trio():
    """Three nodes; each test leaves them healthy."""
    with Cluster(3, dcs={"loop_wait": 2, "retry_timeout": 3}) as cluster:
        cluster.start()
        cluster.wait_leader().sql("create table if not exists t (n int primary key)")
        yield cluster


def pause(cluster):
    leader = cluster.wait_leader()
    assert leader.rest("/config", "PATCH", {"pause": True})[0] == 200
    for node in cluster.nodes:
        wait_for(f"{node.name} to pause", lambda node=node: node.patroni().get("pause"))
    return leader


def resume(cluster):
    assert cluster.nodes[0].rest("/config", "PATCH", {"pause": None})[0] == 200


def timeline(node):
    return node.sql("select timeline_id from pg_control_checkpoint()")[0][0]


def received_timeline(node):
    return node.sql("select received_tli from pg_stat_wal_receiver")[0][0]


def write_until_visible(leader, nodes, value):
    leader.sql("insert into t values (%s)", value)
    for node in nodes:
        wait_for(f"row {value} on {node.name}", lambda node=node: (value,) in node.sql(
            "select n from t"), 60)


def pg_ctl(node, *arguments):
    subprocess.run([str(PG_BIN / "pg_ctl"), "-D", str(node.data), "-w", *arguments],
                   check=True, capture_output=True, timeout=60)


def test_replica_promoted_by_hand(trio):
    """It goes on beside the leader while paused; on resume it is rewound."""
    leader = pause(trio)
    wild, other = trio.replicas()
    start = wild.log_end()
    wild.sql("select pg_promote()")
    wild.sql("insert into t values (1001)")
    wait_for("it to go on", lambda: wild.logged(
        "PAUSE: continue to run as primary without lock", start))
    leader.sql("insert into t values (1)")
    assert trio.leader() is leader
    assert wild.status("/primary") == 503
    resume(trio)
    wait_for("the demotion", lambda: wild.logged(
        "demoting self because I do not have the lock and I was a leader", start))
    wait_for("it to stream again", wild.streams, 60)
    assert trio.wait_healthy() is leader
    write_until_visible(leader, [wild, other], 2)
    assert wild.sql("select n from t where n = 1001") == []
    assert wild.logged("running pg_rewind from", start)


def test_failover_by_hand(trio):
    """The leader is stopped and a replica promoted: the replica takes the
    lock while paused, the third follows it, the old one is rewound."""
    old = pause(trio)
    new, third = trio.replicas()
    start = old.log_end()
    pg_ctl(old, "stop", "-m", "immediate")
    wait_for("the key to go", lambda: trio.leader_key()[0] is None, 30)
    new.sql("select pg_promote()")
    assert trio.wait_leader(other_than=old) is new
    write_until_visible(new, [third], 11)
    assert old.postmaster() is None
    resume(trio)
    wait_for("the old leader to stream", old.streams, 60)
    assert trio.wait_healthy() is new
    write_until_visible(new, [old, third], 12)
    assert old.logged("PAUSE: postgres is not running", start)


def test_leader_demoted_by_hand(trio):
    """The leader is restarted as a standby and another one promoted."""
    old = pause(trio)
    new, third = trio.replicas()
    pg_ctl(old, "stop", "-m", "fast")
    wait_for("the key to go", lambda: trio.leader_key()[0] is None, 30)
    (old.data / "standby.signal").touch()
    pg_ctl(old, "start", "-o", f"-p {old.pg_port} -c listen_addresses=127.0.0.1",
           "-l", str(old.dir / "by-hand.log"))
    new.sql("select pg_promote()")
    assert trio.wait_leader(other_than=old) is new
    write_until_visible(new, [third], 21)
    resume(trio)
    wait_for("the old leader to stream", old.streams, 60)
    assert trio.wait_healthy() is new
    write_until_visible(new, [old, third], 22)
    wait_for("its walreceiver's timeline",
             lambda: received_timeline(old) == timeline(new))


def test_replica_promoted_and_stopped(trio):
    """Promoted by hand, then found stopped on resume."""
    leader = pause(trio)
    wild, other = trio.replicas()
    wild.sql("select pg_promote()")
    wild.sql("insert into t values (1002)")
    pg_ctl(wild, "stop", "-m", "immediate")
    leader.sql("insert into t values (31)")
    resume(trio)
    wait_for("it to stream again", wild.streams, 60)
    assert trio.wait_healthy() is leader
    write_until_visible(leader, [wild, other], 32)
    assert wild.sql("select n from t where n = 1002") == []
