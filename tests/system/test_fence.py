"""A primary whose lease has run out is stopped before another one promotes,
whatever part of its manager hangs (ha.md 23)."""
import signal


from cluster import kill, wait_for


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
