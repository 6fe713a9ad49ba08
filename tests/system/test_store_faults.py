"""A store of three members loses its leader, or all of them are killed and
started again, in the middle of each thing that a cluster does (ha.md 8, 10, 12).
"""
import contextlib
import json
import os
import signal

import pytest

import stores
from cluster import Cluster, wait_for
from ledger import Ledger

pytestmark = pytest.mark.skipif(not os.environ.get("LONG"), reason="minutes: LONG=1")


class Member(stores.Etcd3):
    """One of three."""

    number = 0
    peers = ()

    def prepare(self):
        super().prepare()
        self.dir = self.directory / f"etcd{self.number}"
        self.log = self.directory / f"etcd{self.number}.log"

    def command(self):
        together = ",".join(f"e{p.number}=http://{p.host}:{p.peer}" for p in self.peers)
        own = super().command()
        own[own.index("--name") + 1] = f"e{self.number}"
        own[own.index("--initial-cluster") + 1] = together
        return own

    def leads(self):
        status = self.call("/v3/maintenance/status", {})
        return status["leader"] == status["header"]["member_id"]


class Three:
    """The face of a store, on whichever member answers."""

    def __init__(self, directory, ports):
        self.members = []
        for number in range(3):
            kind = type("Member", (Member,), {"number": number, "peers": self.members})
            self.members.append(kind(directory, ports))

    def __getattr__(self, name):
        """What does not depend on their number."""
        return getattr(self.members[0], name)

    def config(self, _scope="test"):
        return {"hosts": [f"{m.host}:{m.port}" for m in self.members]}

    node_config = config

    def start(self):
        """None is ready before two are there: all are started first."""
        for member in self.members:
            ready, member.ready = member.ready, lambda: True
            member.start()
            member.ready = ready
        for member in self.members:
            wait_for("a member", member.ready, 30)

    def close(self):
        for member in self.members:
            member.close()

    def first(self, action):
        last = None
        for member in self.members:
            if member.process is not None:
                try:
                    return action(member)
                except (OSError, ValueError) as error:
                    last = error
        raise last or OSError("no member runs")

    def get(self, path):
        return self.first(lambda m: m.get(path))

    def put(self, path, value):
        return self.first(lambda m: m.put(path, value))

    def leader(self):
        def leading():
            for member in self.members:
                with contextlib.suppress(OSError, ValueError):
                    if member.leads():
                        return member
            return None
        return wait_for("the leader of the store", leading, 30)


def lose_leader(store):
    """The leading member is killed; what brings it back."""
    member = store.leader()
    member.stop()
    return member.start


def restart_all(store):
    """All are killed and started again at once."""
    for member in store.members:
        member.stop()
    store.start()
    return lambda: None


@contextlib.contextmanager
def on_three(names, retry_timeout):
    """A cluster that is not started, on a store of three."""
    dcs = {"synchronous_mode": True, "ttl": 30, "loop_wait": 3, "retry_timeout": retry_timeout}
    with Cluster(0, dcs=dcs) as cluster:
        cluster.etcd.close()
        cluster.etcd = Three(cluster.dir, cluster.ports)
        cluster.etcd.start()
        for name in names:
            cluster.add(name)
        yield cluster


@pytest.fixture(name="setup", params=[lose_leader, restart_all],
                ids=["leader-lost", "all-restarted"])
def fixture_setup(request):
    """(cluster that is not started, the fault)"""
    # an election may take seconds; a store that is away for retry_timeout
    # costs the primary, which is the other test's matter
    with on_three("abc", retry_timeout=12) as cluster:
        yield cluster, lambda: request.param(cluster.etcd)


def wait_synchronous(cluster):
    wait_for("a synchronous standby", lambda: json.loads(
        cluster.etcd.get("/service/test/sync")[0] or "{}").get("sync_standby"), 60)


def timeline(primary):
    """By what it writes now: pg_control may be a checkpoint behind."""
    return int(primary.sql("select pg_walfile_name(pg_current_wal_lsn())")[0][0][:8], 16)


def test_each_phase(setup):
    cluster, fault = setup
    first, second, third = cluster.nodes

    # bootstrap: one node has taken it upon itself
    first.start()
    wait_for("the bootstrap", lambda: cluster.etcd.get("/service/test/initialize")[1], 60)
    again = fault()
    wait_for("the leader", lambda: cluster.leader() is first, 90)
    again()

    # copy of the data
    second.start()
    wait_for("the copy", lambda: second.logged("trying to bootstrap from leader"), 60)
    again = fault()
    wait_for("the replica", second.streams, 90)
    again()
    third.start()
    wait_for("the third", third.streams, 90)
    assert cluster.wait_leader() is first
    assert timeline(first) == 1

    wait_synchronous(cluster)
    with Ledger(cluster) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)

        # promotion: the lock is taken, the server not yet primary
        marks = {n: n.log_end() for n in cluster.nodes}
        first.kill_tree()
        wait_for("the promotion", lambda: any(n.logged(
            "promoted self to leader", marks[n]) for n in (second, third)), 90)
        again = fault()
        new = cluster.wait_leader(other_than=first)
        assert ledger.lost(new) == []
        again()
        first.start()
        cluster.wait_healthy()
        wait_synchronous(cluster)

        # switchover: the old leader is stopping
        old, start = cluster.wait_leader(), new.log_end()
        cluster.etcd.put("/service/test/failover", json.dumps({"leader": old.name}))
        wait_for("the demotion", lambda: old.logged("switchover: demoting myself", start), 30)
        again = fault()
        new = cluster.wait_leader()
        assert ledger.lost(new) == []
        again()
        cluster.wait_healthy()
        wait_for("no request", lambda: not json.loads(
            cluster.etcd.get("/service/test/failover")[0] or "{}"), 60)

        # nothing: the lock stays where it is
        wait_synchronous(cluster)
        leader, key = cluster.wait_leader(), cluster.leader_key()
        cycles = leader.log_end()
        fault()()
        wait_for("three cycles", lambda: len(leader.logged(
            "the leader with the lock", cycles)) >= 3, 60)
        assert cluster.leader_key() == key
        count = len(ledger.acknowledged)
        wait_for("further rows", lambda: len(ledger.acknowledged) > count + 20)
        ledger.stop()
        assert ledger.lost(cluster.wait_leader()) == []
    assert all(m.process.poll() is None for m in cluster.etcd.members)
    for node in cluster.nodes:
        node.signal(signal.SIGTERM)
    for node in cluster.nodes:
        assert node.process.wait(60) == 0


def test_away_for_long_in_copy():
    """Longer than retry_timeout: a primary without a store stops, also while
    somebody copies from it; nobody else has the data, so it leads again, on a
    new timeline, and the copy is made or goes on (ha.md 8.7)."""
    with on_three("ab", retry_timeout=3) as cluster:
        first, second = cluster.nodes
        first.start()
        wait_for("the leader", lambda: cluster.leader() is first, 90)
        second.start()
        wait_for("the copy", lambda: second.logged("trying to bootstrap from leader"), 60)
        for member in cluster.etcd.members:
            member.stop()
        wait_for("the demotion", lambda: first.logged(
            "demoted self because DCS is not accessible and I was a leader"), 60)
        assert not first.is_leader()
        mark = first.log_end()
        cluster.etcd.start()
        wait_for("the leader again", lambda: cluster.leader() is first, 90)
        assert first.logged("promoted self to leader", mark)
        assert timeline(first) == 2
        wait_for("the replica", second.streams, 90)
        wait_synchronous(cluster)
