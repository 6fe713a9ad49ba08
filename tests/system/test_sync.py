"""Synchronous mode on four real servers under load, one feature after the
other; the ledger of acknowledged rows is complete at every turn (ha.md 13, 14).
"""
import base64
import json
import os
import signal

import pytest

from cluster import Cluster, wait_for
from ledger import Ledger


@pytest.fixture(scope="module", name="four")
def fixture_four():
    """Four nodes that write a ledger; each test leaves them healthy."""
    # a primary that dies at once leaves a timeline whose number the next one
    # takes as well: no rewind can tell them apart
    anew = {"postgresql": {"remove_data_directory_on_rewind_failure": True}}
    with Cluster(4, dcs={"loop_wait": 2, "retry_timeout": 3, "synchronous_mode": True},
                 extra=anew) as cluster:
        cluster.start()
        cluster.etcd.put("/service/test/failover", "{}")
        yield cluster


@pytest.fixture(name="ledger")
def fixture_ledger(four):
    """Rows are written all through the test; none may be missing after it."""
    four.wait_leader().sql("drop table if exists ledger")
    with Ledger(four) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)
        yield ledger
        four.wait_healthy()
        before = len(ledger.acknowledged)
        wait_for("further rows", lambda: len(ledger.acknowledged) > before + 20)
        ledger.stop()
        assert ledger.lost(four.wait_leader()) == []


def configure(cluster, **options):
    assert cluster.running()[0].rest("/config", "PATCH", options)[0] == 200


def sync(cluster):
    """(leader, names, quorum) of /sync."""
    value, _ = cluster.etcd.get("/service/test/sync")
    document = json.loads(value or "{}")
    names = document.get("sync_standby") or ""
    return document.get("leader"), set(filter(None, names.split(","))), document.get("quorum")


def standby_names(node):
    return node.sql("show synchronous_standby_names")[0][0]


def wait_sync(cluster, names, quorum=0):
    """/sync and the server agree on these standbys."""
    def agreed():
        leader = cluster.leader()
        return leader and sync(cluster) == (leader.name, set(names), quorum)
    wait_for(f"{sorted(names)} with quorum {quorum} in /sync", agreed, 60)
    return cluster.leader()


def one_standby(cluster):
    """The leader and its only synchronous standby, once /sync and the server
    agree: on the way from one set to another /sync is shorter for a moment."""
    def settled():
        leader, (_, names, _) = cluster.leader(), sync(cluster)
        if leader and len(names) == 1 and {standby_names(leader)} == names:
            return leader, cluster[next(iter(names))]
        return None
    return wait_for("one standby in /sync", settled, 60)


def tag(node, **tags):
    node.write_config(tags)
    node.signal(signal.SIGHUP)


def wipe(cluster):
    """Every key below /service/test/ is deleted, in one transaction."""
    cluster.etcd.call("/v3/kv/deleterange", {
        "key": base64.b64encode(b"/service/test/").decode(),
        "range_end": base64.b64encode(b"/service/test0").decode()})


def test_standby_leaves_before_restart(four, ledger):
    """A standby that is to be restarted is replaced first, so that no commit
    waits for it (ha.md 13.8, 18)."""
    leader, standby = one_standby(four)
    start, old = standby.log_end(), standby.postmaster()
    count = len(ledger.acknowledged)
    assert standby.rest("/restart", "POST", {}, timeout=60) == (200, "restarted successfully")
    with open(standby.log, encoding="utf-8", errors="replace") as log:
        log.seek(start)
        text = log.read()
    waited = text.index("Waiting for primary to release us from synchronous standby")
    assert waited < text.index("received fast shutdown request")
    assert standby.postmaster() != old
    assert len(ledger.acknowledged) > count
    assert sync(four)[1] != {standby.name}
    assert four.leader() is leader


def test_standby_is_terminated(four, ledger):
    """So is one whose daemon is told to end (ha.md 2.5, 13.8)."""
    _, standby = one_standby(four)
    start = standby.log_end()
    assert standby.terminate() == 0
    assert standby.logged("Waiting for primary to release us from synchronous standby", start)
    assert sync(four)[1] != {standby.name}
    assert standby_names(four.leader()) not in ("", standby.name)
    standby.start()
    assert ledger.acknowledged


def test_tags(four, ledger):
    """nosync is never waited for, sync_priority comes first (ha.md 13.4, 19)."""
    leader, standby = one_standby(four)
    tag(standby, nosync=True)
    wait_for("another standby", lambda: sync(four)[1] and sync(four)[1] != {standby.name}, 60)
    other = next(n for n in four.replicas() if n is not standby and n.name not in sync(four)[1])
    tag(other, sync_priority=2)
    wait_sync(four, [other.name])
    assert standby_names(leader) == other.name
    tag(other)
    tag(standby)
    wait_for("the tags to be gone", lambda: not any(
        json.loads(four.etcd.get(f"/service/test/members/{n.name}")[0]).get("tags")
        for n in four.nodes), 30)
    assert ledger.acknowledged


def test_two_standbys(four, ledger):
    """Two are waited for when asked; one is lost and replaced (ha.md 13.5)."""
    leader = four.wait_leader()
    configure(four, synchronous_node_count=2)
    wait_for("two names", lambda: len(sync(four)[1]) == 2, 60)
    names = sync(four)[1]
    assert standby_names(leader) == f"2 ({','.join(sorted(names))})"
    lost = four[sorted(names)[0]]
    lost.kill_tree()
    wait_for("its replacement", lambda: len(sync(four)[1] - {lost.name}) == 2, 60)
    lost.start()
    configure(four, synchronous_node_count=None)
    one_standby(four)
    assert ledger.acknowledged


def test_strict(four, ledger):
    """Without a standby commits wait; they go on when one is back (ha.md 13.6)."""
    leader = four.wait_leader()
    configure(four, synchronous_mode_strict=True)
    others = four.replicas()
    wait_for("the setting", lambda: "synchronous_mode_strict" in leader.rest("/config")[1])
    for node in others:
        node.kill_tree()
    wait_for("the warning", lambda: leader.logged(
        "synchronous_mode_strict is requested"), 60)
    assert standby_names(leader) != ""
    # what was under way has ended by now, and nothing new is acknowledged
    wait_for("a commit that waits", lambda: leader.sql(
        "select count(*) from pg_stat_activity where wait_event = 'SyncRep'")[0][0], 30)
    count = len(ledger.acknowledged)
    cycles = leader.log_end()
    wait_for("three more cycles", lambda: len(leader.logged(
        "the leader with the lock", cycles)) >= 3, 30)
    assert len(ledger.acknowledged) <= count + 1
    count = len(ledger.acknowledged)
    others[0].start()
    wait_for("commits", lambda: len(ledger.acknowledged) > count + 20, 60)
    for node in others[1:]:
        node.start()
    configure(four, synchronous_mode_strict=None)
    assert four.wait_healthy() is leader


def test_quorum(four, ledger):
    """Any two of three acknowledge; the primary dies, and a node that has all
    of it takes over; the wish changes while nodes come and go (ha.md 14)."""
    old = four.wait_leader()
    configure(four, synchronous_mode="quorum", synchronous_node_count=2)
    names = {n.name for n in four.nodes} - {old.name}
    wait_sync(four, names, 1)
    assert standby_names(old) == f"ANY 2 ({','.join(sorted(names))})"
    count = len(ledger.acknowledged)
    wait_for("rows", lambda: len(ledger.acknowledged) > count + 50)
    old.kill_tree()
    new = four.wait_leader(other_than=old)
    assert ledger.lost(new) == []
    wait_sync(four, names - {new.name}, 0)
    configure(four, synchronous_node_count=1)
    wait_sync(four, names - {new.name}, 1)
    old.start()
    wait_sync(four, {n.name for n in four.nodes} - {new.name}, 2)
    assert standby_names(new).startswith("ANY 1 (")


def test_quorum_of_three(four, ledger):
    """Three nodes are left: the primary and then a voter die (ha.md 14.5)."""
    configure(four, synchronous_mode="quorum", synchronous_node_count=1)
    gone = four.replicas()[0]
    assert gone.terminate() == 0
    old = four.wait_leader()
    voters = {n.name for n in four.running()} - {old.name}
    wait_sync(four, voters, 1)
    old.kill_tree()
    # Q + 1 of the voters and the leader have to agree: two are there
    new = four.wait_leader(other_than=old)
    assert ledger.lost(new) == []
    old.start()
    gone.start()
    four.wait_healthy()


def test_back_to_priority(four, ledger):
    """From ANY to one name, and off and on again (ha.md 13.5, 13.9)."""
    leader = four.wait_leader()
    configure(four, synchronous_mode=True, synchronous_node_count=None)
    one_standby(four)
    wait_for("one name", lambda: "ANY" not in standby_names(leader), 30)
    configure(four, synchronous_mode=None)
    wait_for("no /sync", lambda: not sync(four)[0], 30)
    wait_for("no names", lambda: standby_names(leader) == "", 30)
    configure(four, synchronous_mode=True)
    one_standby(four)
    assert ledger.acknowledged


def test_store_is_wiped(four, ledger):
    """All keys vanish under load: the primary goes on, every key returns, and
    after that a failover loses nothing (ha.md 3.4, 10.4)."""
    leader, _ = one_standby(four)
    history = four.etcd.get("/service/test/history")[0]
    sysid = four.etcd.get("/service/test/initialize")[0]
    wipe(four)
    wait_for("the lock", lambda: four.leader() is leader, 60)
    wait_for("the identifier", lambda: four.etcd.get(
        "/service/test/initialize")[0] == sysid, 30)
    wait_for("the configuration", lambda: json.loads(
        four.etcd.get("/service/test/config")[0]).get("synchronous_mode"), 30)
    one_standby(four)
    assert four.wait_healthy() is leader
    if history:
        wait_for("the history", lambda: four.etcd.get("/service/test/history")[0], 30)
    leader.kill_tree()
    new = four.wait_leader(other_than=leader)
    assert ledger.lost(new) == []
    leader.start()


@pytest.mark.skipif(not os.environ.get("LONG"), reason="minutes: LONG=1")
@pytest.mark.parametrize("mode", [True, "quorum"])
def test_one_failover_after_the_other(four, ledger, mode):
    """Ten times the primary dies, at any moment of its changes of /sync, and
    comes back while the next one dies (ha.md 13, 14, 23)."""
    configure(four, synchronous_mode=mode, synchronous_node_count=2)
    for number in range(10):
        old = four.wait_leader()
        wait_for("somebody who may take over", lambda: sync(four)[1])
        old.kill_tree()
        new = four.wait_leader(other_than=old)
        assert ledger.lost(new) == [], f"failover {number}"
        old.start()
    four.wait_healthy()
    configure(four, synchronous_mode=True, synchronous_node_count=None)
