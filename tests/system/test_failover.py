"""A leader that dies, in each way, is replaced, and comes back as a replica.

Rows acknowledged with synchronous commit to a standby are never lost (ha.md 5, 8, 11, 13, 22).
"""
import json
import signal

import pytest

from cluster import Cluster, kill, wait_for
from ledger import Ledger

SYNC = {"synchronous_mode": True}


def wait_synchronous(cluster):
    """The store names a standby: only then may another node take over."""
    def listed():
        value, _ = cluster.etcd.get("/service/test/sync")
        return value and json.loads(value)["sync_standby"]
    wait_for("a synchronous standby in the store", listed, 60)


@pytest.fixture
def synchronous():
    with Cluster(3, dcs=SYNC) as cluster:
        cluster.start()
        wait_synchronous(cluster)
        yield cluster


def finish(cluster, ledger, enough=20):
    """The cluster is whole again and the ledger is complete."""
    cluster.wait_healthy()
    count = len(ledger.acknowledged)
    wait_for("further rows", lambda: len(ledger.acknowledged) > count + enough, 60)
    ledger.stop()
    leader = cluster.wait_leader()
    assert ledger.lost(leader) == []


def test_postmaster_killed(synchronous):
    old = synchronous.wait_leader()
    with Ledger(synchronous) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 50)
        postmaster = old.postmaster()
        kill(postmaster, signal.SIGKILL)
        wait_for("another postmaster", lambda: old.postmaster() not in (None, postmaster))
        finish(synchronous, ledger)


def test_postmaster_killed_fails_over_at_once():
    with Cluster(3, dcs=dict(SYNC, primary_start_timeout=0)) as cluster:
        cluster.start()
        wait_synchronous(cluster)
        old = cluster.wait_leader()
        with Ledger(cluster) as ledger:
            wait_for("first rows", lambda: len(ledger.acknowledged) > 50)
            kill(old.postmaster(), signal.SIGKILL)
            cluster.wait_leader(other_than=old)
            finish(cluster, ledger)
            assert old.streams()


def test_process_tree_killed(synchronous):
    old = synchronous.wait_leader()
    with Ledger(synchronous) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 50)
        old.kill_tree()
        synchronous.wait_leader(other_than=old)
        old.start()
        finish(synchronous, ledger)
        assert old.streams()


def test_terminated(synchronous):
    old = synchronous.wait_leader()
    with Ledger(synchronous) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 50)
        assert old.terminate() == 0
        assert old.postmaster() is None
        synchronous.wait_leader(other_than=old)
        old.start()
        finish(synchronous, ledger)
        assert old.streams()


def test_every_node_restarted_in_turn(synchronous):
    with Ledger(synchronous) as ledger:
        for node in synchronous.nodes:
            assert node.terminate() == 0
            node.start()
            synchronous.wait_healthy()
        finish(synchronous, ledger)
