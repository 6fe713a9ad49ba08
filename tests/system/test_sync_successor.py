"""Quorum commit at a change of leader, on real servers: what is acknowledged
before /sync has the new leader's name is not lost when the former one leads
again (ha.md 14.6), and no restart of the manager loosens what commits wait for.
"""
import base64
import json
import os
import re
import shutil
import signal

import pytest

import stores
from cluster import Cluster, alive, kill, wait_for
from ledger import Ledger

SYNC = "/service/test/sync"


class Requests:
    """What a client sends to etcd, in whole requests: first line and keys."""

    def __init__(self):
        self.held = b""

    def feed(self, data):
        self.held += data
        head, _, body = self.held.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if b"\r\n\r\n" not in self.held or len(body) < int(length.group(1) if length else 0):
            return None, b""
        data, self.held = self.held, b""
        keys = [base64.b64decode(k).decode() for k in re.findall(rb'"key": *"([^"]*)"', body)]
        return " ".join([head.split(b"\r\n")[0].decode(), *keys]), data


class Store(stores.Etcd3):
    """etcd behind a relay that knows keys."""

    describe = Requests


@pytest.fixture(scope="module", name="three")
def fixture_three():
    dcs = {"loop_wait": 2, "retry_timeout": 3, "synchronous_mode": "quorum"}
    with Cluster(0, dcs=dcs) as cluster:
        cluster.etcd.close()
        cluster.etcd = Store(cluster.dir, cluster.ports, relay=True)
        cluster.etcd.start()
        for name in "abc":
            cluster.add(name)
        cluster.start()
        yield cluster


def sync(cluster):
    """(leader, names, quorum) of /sync."""
    document = json.loads(cluster.etcd.get(SYNC)[0] or "{}")
    names = set(filter(None, (document.get("sync_standby") or "").split(",")))
    return document.get("leader"), names, document.get("quorum")


def standby_names(node):
    return node.sql("show synchronous_standby_names")[0][0]


def wait_both(cluster):
    """/sync and the server agree: any one of the two replicas."""
    leader = cluster.wait_healthy()
    others = sorted(n.name for n in cluster.nodes if n is not leader)

    def agreed():
        return (sync(cluster) == (leader.name, set(others), 1)
                and standby_names(leader) == f"ANY 1 ({','.join(others)})")
    wait_for("both replicas in /sync", agreed, 60)
    return leader


def waiting(node):
    return node.sql("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")[0][0]


def successor(cluster, old, ledger):
    """The leader is lost, and /sync goes on naming it: the one that was
    promoted lets commits wait for all that are named there."""
    cluster.etcd.relay.refuse(f"/txn.* {SYNC}( |$)")
    old.kill_tree()
    new = cluster.wait_leader(other_than=old)
    other = next(n for n in cluster.running() if n is not new)
    assert sync(cluster)[0] == old.name
    names = sorted([old.name, other.name])
    assert standby_names(new) == f"ANY 2 ({','.join(names)})"
    wait_for("the other to stream", lambda: new.sql(
        "select count(*) from pg_stat_replication where state = 'streaming'")[0][0], 60)
    # the former rule, any one of the two, would have it acknowledged now
    wait_for("a commit that waits", lambda: waiting(new), 60)
    count, cycles = len(ledger.acknowledged), new.log_end()
    wait_for("three more cycles", lambda: len(new.logged(
        "the leader with the lock", cycles)) >= 3, 60)
    assert cluster.etcd.relay.count(pattern=f"/txn.* {SYNC}( |$)") > 0
    assert len(ledger.acknowledged) == count
    assert sync(cluster)[0] == old.name
    return new, other


def test_store_refuses_the_new_name(three):
    """Commits wait while /sync cannot be written, and go on as soon as it
    can, although the former leader does not come back."""
    old = wait_both(three)
    with Ledger(three) as ledger:
        wait_for("rows", lambda: len(ledger.acknowledged) > 50)
        new, other = successor(three, old, ledger)
        count = len(ledger.acknowledged)
        three.etcd.relay.reset()
        wait_for("rows", lambda: len(ledger.acknowledged) > count + 50, 60)
        assert three.leader() is new
        assert sync(three) == (new.name, {other.name}, 0)
        old.start()
        assert wait_both(three) is new
        ledger.stop()
        assert ledger.lost(new) == []
        assert ledger.lost(old) == []


@pytest.mark.skipif(not os.environ.get("LONG"), reason="a minute: LONG=1")
def test_former_leader_comes_back_alone(three):
    """... and when it does, and all others are lost, it leads without votes:
    with every row that was acknowledged."""
    old = wait_both(three)
    with Ledger(three) as ledger:
        wait_for("rows", lambda: len(ledger.acknowledged) > 50)
        new, other = successor(three, old, ledger)
        other.kill_tree()
        new.kill_tree()
        three.etcd.relay.reset()
        old.start()
        assert three.wait_leader(timeout=120) is old
        assert ledger.lost(old) == []
        # both branches have the same number: PostgreSQL cannot tell them apart
        for node in (new, other):
            shutil.rmtree(node.data)
            node.start()
        wait_both(three)
        ledger.stop()
        assert ledger.lost(old) == []


def changes(node, start):
    """Values that the server has taken up since, "" for none."""
    return node.logged(r'parameter "synchronous_standby_names" (?:changed to "(.*)"|removed)', start)


@pytest.mark.parametrize("mode", [True, "quorum"])
def test_manager_restarts(three, mode):
    """The controller, then the whole daemon, is killed beside a primary: at no
    moment do commits wait for fewer standbys than /sync relies on."""
    leader = three.wait_leader()
    assert leader.rest("/config", "PATCH", {"synchronous_mode": mode})[0] == 200
    wait_for("the mode", lambda: standby_names(leader) and (
        "ANY" in standby_names(leader)) == (mode == "quorum"), 60)
    names = wait_for("standbys in /sync", lambda: sync(three)[1], 60)
    value, start = standby_names(leader), leader.log_end()
    helper = leader.helper("postgres")
    kill(helper, signal.SIGKILL)
    wait_for("another controller", lambda: not alive(helper), 30)
    wait_for("two cycles", lambda: len(leader.logged("the leader with the lock", start)) >= 2, 60)
    assert changes(leader, start) == []
    leader.kill_tree(also_postgres=False)
    start = leader.log_end()
    leader.start()
    wait_for("two cycles", lambda: len(leader.logged("the leader with the lock", start)) >= 2, 60)
    assert changes(leader, start) == []
    assert standby_names(leader) == value
    assert sync(three)[1] == names
    assert three.leader() is leader
