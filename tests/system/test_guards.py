"""What keeps a node from leading or from starting: a watchdog that is
required, a name that is taken (ha.md 2.1, 20).
"""
import os

import pytest

from cluster import Cluster, Node, wait_for


class Pipe:
    """The far end of `driver: testing`: what the device would be told."""

    def __init__(self, path):
        self.path = path
        self.told = ""
        self.fd = None
        self.make()

    def make(self):
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self):
        """Everything that was told so far."""
        while True:
            try:
                piece = os.read(self.fd, 4096)
            except BlockingIOError:
                return self.told
            if not piece:
                return self.told
            self.told += piece.decode()

    def remove(self):
        os.close(self.fd)
        os.unlink(self.path)


@pytest.fixture(name="watched")
def fixture_watched():
    """One node that must have a watchdog."""
    with Cluster(1, dcs={"ttl": 20, "loop_wait": 2, "retry_timeout": 3}) as cluster:
        pipe = Pipe(cluster.dir / "watchdog")
        node = cluster.nodes[0]
        node.write_config(extra={"watchdog": {
            "mode": "required", "driver": "testing", "device": str(pipe.path)}})
        node.start()
        yield cluster, node, pipe


def test_required_watchdog(watched):
    """Armed before the first commit, fed by each lock update, given up in
    pause and at the end; without it nobody leads."""
    cluster, node, pipe = watched
    wait_for("the leader", node.is_leader, 90)
    wait_for("the beats", lambda: pipe.read().count("1") >= 3, 30)
    assert pipe.told.startswith("T15\n1"), pipe.told  # ttl less safety_margin
    assert "V" not in pipe.told
    assert node.logged("activated with 15 second timeout, timing slack 13 seconds")
    assert node.rest("/config", "PATCH", {"pause": True})[0] == 200
    wait_for("the end of it", lambda: pipe.read().endswith("V"), 30)
    cycles = node.log_end()
    wait_for("two cycles in pause", lambda: len(node.logged("PAUSE: no action", cycles)) >= 2, 30)
    assert pipe.read().endswith("V")
    assert node.rest("/config", "PATCH", {"pause": None})[0] == 200
    wait_for("the beats again", lambda: pipe.read().rsplit("V", 1)[1].count("1") >= 2, 30)
    assert node.terminate() == 0
    assert pipe.read().endswith("V")
    # the device is gone: this node must not lead
    pipe.remove()
    start = node.log_end()
    node.start()
    wait_for("the refusal", lambda: len(node.logged(
        "Watchdog device is not usable", start)) >= 3, 60)
    assert not node.writable() and cluster.leader_key()[0] is None
    assert node.patroni().get("watchdog_failed") is True
    pipe.told = ""
    pipe.make()
    wait_for("the leader", node.is_leader, 60)
    assert pipe.read().startswith("T15\n")


def test_name_is_taken():
    """A second node of the same name ends at once and disturbs nothing."""
    with Cluster(1) as cluster:
        node = cluster.nodes[0].start()
        wait_for("the leader", node.is_leader, 90)
        member, key = cluster.etcd.get("/service/test/members/a")[0], cluster.leader_key()
        double = Node(cluster, "double", extra={"name": node.name})
        cluster.nodes.append(double)
        double.start()
        assert double.process.wait(60) == 1
        assert double.logged(
            f"Can't start; there is already a node named '{node.name}' running")
        assert not double.data.exists()
        assert node.is_leader() and cluster.leader_key() == key
        assert cluster.etcd.get("/service/test/members/a")[0].split(
            '"xlog')[0] == member.split('"xlog')[0]
