"""Two timelines with one number.  The one that was promoted dies at once; who
never saw its timeline is promoted after it, and PostgreSQL gives its branch the
same number.  pg_rewind and the streaming protocol go by numbers: they take
both for one."""
import os

import pytest

from cluster import Cluster, wait_for
from test_ctl_commands import ctl
from diverge import FAST, LAX, diverge, same_rows

REFUSED = r"not following .*: it is on another timeline of the same number, .*\(patronictl reinit\)"


def twins(cluster, rows=2000):
    """(leader, lost): both were promoted to timeline 2; lost is down and has
    rows of its own."""
    first, lost = diverge(cluster, rows)
    return lead(cluster, first, lost, rows), lost


def lead(cluster, leader, lost, rows):
    wait_for("its timeline", lambda: timeline(lost) == 2)
    lost.kill_tree()
    cluster.etcd.delete("/service/test/leader")  # instead of the time to live
    leader.start()
    assert cluster.wait_leader() is leader
    leader.sql("insert into t select n, repeat('l', 500) from generate_series(1, %s) n" % rows)
    wait_for("the same", lambda: timeline(leader) == 2)
    return leader


def history(node):
    return (node.data / "pg_wal" / "00000002.history").read_text()


def timeline(node):
    return node.patroni()["timeline"]


def as_leader(cluster, leader, lost):
    """The lost one is a replica like any other."""
    assert cluster.wait_healthy() is leader
    leader.sql("insert into t values (0, 'new')")
    rows = same_rows(cluster)
    assert leader.sql("select count(*) from t where x like 'z%%'")[0][0] == 0
    assert rows[0] > 2000


@pytest.fixture(name="two")
def fixture_two():
    with Cluster(2, dcs=LAX, extra=FAST) as cluster:
        cluster.start()
        cluster.wait_leader().sql("create table t (n int, x text)")
        yield cluster


def test_promoted_at_the_same_place(two):
    """Equal histories: the WAL itself tells."""
    first = two.wait_healthy()
    lost = next(n for n in two.nodes if n is not first)
    assert first.terminate() == 0
    wait_for("the other leader", lost.is_leader, 60)
    assert two.wait_leader() is lost
    lost.sql("insert into t select n, repeat('z', 500) from generate_series(1, 10) n")
    leader = lead(two, first, lost, rows=20000)
    assert history(leader) == history(lost)
    start = lost.log_end()
    lost.start()
    wait_for("the refusal", lambda: lost.logged(REFUSED, start), 60)
    assert lost.logged("WAL of timeline 2 at .* is not the leader's", start)
    assert not lost.logged("running pg_rewind", start)
    out = ctl(two, "reinit", "test", lost.name, "--force", "--wait", node=leader.name)
    assert f"Success: reinitialize for member {lost.name}\n" in out
    as_leader(two, leader, lost)


@pytest.mark.skipif(not os.environ.get("LONG"), reason="as test_rewind, after a crash: LONG=1")
def test_refused_then_allowed(two):
    """Nothing is destroyed and nothing started until somebody allows it."""
    leader, lost = twins(two)
    start = lost.log_end()
    lost.start()
    wait_for("the refusal", lambda: len(lost.logged(REFUSED, start)) > 2, 60)
    assert lost.postmaster() is None
    assert not lost.logged("running pg_rewind", start)
    assert (lost.data / "PG_VERSION").exists()
    status, text = leader.rest("/config", "PATCH", {
        "postgresql": {"remove_data_directory_on_diverged_timelines": True}})
    assert status == 200, text
    wait_for("the copy", lambda: lost.logged(
        "replica has been created using basebackup", start), 90)
    assert lost.logged("reinitializing due to diverged timelines", start)
    as_leader(two, leader, lost)
