"""A primary whose lease has run out is stopped before another one promotes,
whatever part of its manager hangs (ha.md 23)."""
import json
import signal


from cluster import Cluster, kill, wait_for


def fence_time(node, start):
    """CLOCK_BOOTTIME seconds of the keeper's SIGQUIT, or None."""
    found = node.logged(r"fence: .* at (\d+\.\d+)", start)
    return float(found[0]) if found else None


def promote_time(node, start):
    """CLOCK_BOOTTIME seconds at which the promotion was issued."""
    found = node.logged(r"promotion .* at (\d+\.\d+)", start)
    return float(found[0]) if found else None


def rejoin(cluster, old):
    assert cluster.wait_healthy() is not old
    wait_for("the old leader to stream", old.streams, 90)


def test_controller_stopped(three):
    old = three.wait_leader()
    marks = {n: n.log_end() for n in three.nodes}
    pid = old.helper("postgres")
    kill(pid, signal.SIGSTOP)
    try:
        new = three.wait_leader(other_than=old)
        fenced = wait_for("the fence in the log", lambda: fence_time(old, marks[old]))
        promoted = wait_for("the promotion in the log", lambda: promote_time(new, marks[new]))
        assert fenced < promoted
        assert old.postmaster() is None
    finally:
        kill(pid, signal.SIGCONT)
    rejoin(three, old)


def test_dcs_helper_stopped(three):
    """The controller itself sees that the store cannot be reached."""
    old = three.wait_leader()
    pid = old.helper("dcs")
    start = old.log_end()
    kill(pid, signal.SIGSTOP)
    try:
        new = three.wait_leader(other_than=old)
        assert old.logged("demoted self because DCS is not accessible and I was a leader", start)
        assert new.writable()
        wait_for("the old one to be read-only or down",
                 lambda: old.postmaster() is None or not old.writable())
    finally:
        kill(pid, signal.SIGCONT)
    rejoin(three, old)


def test_store_stopped(three):
    """Nobody writes while the store hangs; the cluster returns with it."""
    old = three.wait_leader()
    three.etcd.signal(signal.SIGSTOP)
    try:
        wait_for("the primary to step down", lambda: old.logged(
            "demoted self because DCS is not accessible and I was a leader"), 60)
        for node in three.nodes:
            wait_for("read-only", lambda node=node: not node.writable())
    finally:
        three.etcd.signal(signal.SIGCONT)
    three.wait_healthy()


def test_whole_manager_stopped(three):
    """Controller, dcs, rest and master hang together: only the keeper runs."""
    old = three.wait_leader()
    marks = {n: n.log_end() for n in three.nodes}
    helpers = old.helpers()
    pids = [old.pid, helpers["postgres"], helpers["dcs"], helpers["rest"]]
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    try:
        new = three.wait_leader(other_than=old)
        fenced = wait_for("the fence in the log", lambda: fence_time(old, marks[old]))
        promoted = wait_for("the promotion in the log", lambda: promote_time(new, marks[new]))
        assert fenced < promoted
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)
    rejoin(three, old)


def restarted_without_store(cluster):
    """Kill the daemon whole, keeper too, beside its running primary, and start
    it while the store hangs.  Where its log was before."""
    node = cluster.nodes[0]
    postmaster, start = node.postmaster(), node.log_end()
    cluster.etcd.signal(signal.SIGSTOP)
    node.kill_tree(also_postgres=False)
    node.start()
    wait_for("the store to be missed", lambda: node.logged(
        "Can not get cluster from dcs", start), 60)
    assert node.postmaster() == postmaster
    return start


def test_restarted_without_store():
    """Nobody knows the lease of the primary any more, but no lease is longer
    than ttl.  In pause there is none, and the primary stays: the document on disk
    says so (ha.md 2.2)."""
    timing = {"ttl": 20, "loop_wait": 1}
    with Cluster(1, dcs=timing) as cluster, Cluster(1, dcs=timing) as paused:
        node, kept = cluster.start().wait_leader(), paused.start().wait_leader()
        kept.rest("/config", "PATCH", {"pause": True})
        wait_for("the document on disk", lambda: json.loads(
            (kept.data / "patroni.dynamic.json").read_text()).get("pause"), 30)
        begin = restarted_without_store(paused)
        start = restarted_without_store(cluster)
        wait_for("the fence in the log", lambda: fence_time(node, start), 60)
        wait_for("the primary to end", lambda: node.postmaster() is None)
        wait_for("the same time in pause", lambda: len(kept.logged(
            "Can not get cluster from dcs", begin)) > 1, 60)
        assert kept.postmaster() and kept.writable()
        assert fence_time(kept, begin) is None
        for store in (cluster.etcd, paused.etcd):
            store.signal(signal.SIGCONT)
        assert cluster.wait_leader() is node and node.writable()
        wait_for("the leader in pause", kept.is_leader, 60)
