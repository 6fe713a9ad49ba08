"""A leader that died with rows of its own comes back: by pg_rewind, and where
that fails or is not allowed, as a fresh copy when the configuration says so."""
import contextlib
import os

import pytest

from cluster import PG_BIN, Cluster, wait_for
from diverge import FAST, LAX, diverge, same_rows


def cluster_of_two(**postgresql):
    return Cluster(2, dcs=LAX, extra={"postgresql": dict(FAST["postgresql"], **postgresql)})


@contextlib.contextmanager
def started(**postgresql):
    with cluster_of_two(**postgresql) as cluster:
        cluster.start()
        cluster.wait_leader().sql("create table t (n int, x text)")
        yield cluster


def script(path, body):
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def test_ready_wal_is_archived_before_the_rewind():
    with cluster_of_two() as cluster:
        store = cluster.dir / "archive"
        store.mkdir()
        closed = cluster.dir / "closed"
        command = script(cluster.dir / "push", f'[ -e {closed} ] && exit 1\n'
                         f'[ -e "{store}/$2" ] || cp "$1" "{store}/$2"\n')
        for node in cluster.nodes:
            node.write_config(extra={"postgresql": dict(FAST["postgresql"], parameters={
                "archive_mode": "on", "archive_command": f'{command} "%p" %f'})})
        cluster.start()
        leader = cluster.wait_leader()
        leader.sql("create table t (n int, x text)")
        wait_for("an open archive", lambda: (leader.sql("select pg_switch_wal()"),
                                             list(store.iterdir()))[1], 30, every=1)
        closed.touch()
        # in the log of the old timeline, known to nobody else
        old, _ = diverge(cluster, rows=60000)
        ready = {p.name[:-6] for p in (old.data / "pg_wal" / "archive_status").glob("*.ready")}
        assert ready and not ready & {p.name for p in store.iterdir()}
        closed.unlink()
        start = old.log_end()
        old.start()
        cluster.wait_healthy()
        text = old.log.read_text()[start:]
        assert old.logged("pg_rewind exit code=0", start)
        for name in ready:
            at = text.index(f"Trying to archive {name}: {command}")
            assert at < text.index("running pg_rewind from")
            assert (store / name).stat().st_size == 16 << 20
        assert old.logged("doing crash recovery in a single user mode", start)
        same_rows(cluster)


def test_copy_after_a_failed_rewind():
    """With WAL and tablespaces elsewhere: they go and come back too."""
    with cluster_of_two(remove_data_directory_on_rewind_failure=True) as cluster:
        broken = script(cluster.dir / "pg_rewind", f"""
[ "$1" = --help ] && exec {PG_BIN}/pg_rewind "$@"
echo 'no way' >&2; exit 1
""")
        a, b = cluster.nodes
        for node in (a, b):
            (node.dir / "space").mkdir()
            other = b if node is a else a
            node.write_config(extra={
                "bootstrap": {"initdb": [{"auth": "trust"}, "data-checksums",
                                         {"waldir": str(node.dir / "wal")}]},
                "postgresql": {
                    "bin_name": {"pg_rewind": broken},
                    "remove_data_directory_on_rewind_failure": True,
                    "basebackup": [
                        {"checkpoint": "fast"}, {"waldir": str(node.dir / "wal")},
                        {"tablespace-mapping": f"{other.dir}/space={node.dir}/space"}]}})
        a.start()
        wait_for("a leader", a.is_leader, 60)
        a.sql(f"create tablespace s location '{a.dir}/space'")
        a.sql("create table t (n int, x text) tablespace s")
        b.start()
        cluster.wait_healthy()
        old, new = diverge(cluster)
        (old.dir / "wal" / "stale").write_text("stale")
        precious = old.dir / "precious"
        precious.write_text("mine")
        start = old.log_end()
        old.start()
        wait_for("the failure", lambda: old.logged(
            f"Failed to rewind from healthy primary: {new.name}", start), 60)
        wait_for("the removal", lambda: old.logged(
            r"remove_data_directory_on_rewind_failure is set. removing\.\.\.", start), 30)
        cluster.wait_healthy()
        assert old.logged("replica has been created using basebackup", start)
        assert len(old.logged("Removing user defined directory", start)) == 2
        assert not (old.dir / "wal" / "stale").exists()
        assert (old.data / "pg_wal").resolve() == (old.dir / "wal").resolve()
        assert precious.read_text() == "mine"
        same_rows(cluster)


@pytest.mark.parametrize("dynamic", [True] + [False] * bool(os.environ.get("LONG")))
def test_copy_of_diverged_timelines(dynamic):
    """Without pg_rewind; the options may stand in the store's document."""
    options = {"use_pg_rewind": False, "remove_data_directory_on_diverged_timelines": True}
    with started(**({} if dynamic else options)) as cluster:
        if dynamic:
            status, text = cluster.wait_leader().rest("/config", "PATCH", {"postgresql": options})
            assert status == 200, text
            for node in cluster.nodes:
                wait_for("the change", lambda node=node: node.logged(
                    "No PostgreSQL configuration items changed"), 30)
        old, _ = diverge(cluster)
        start = old.log_end()
        old.start()
        wait_for("the decision", lambda: old.logged(
            "reinitializing due to diverged timelines", start), 60)
        cluster.wait_healthy()
        assert old.logged("replica has been created using basebackup", start)
        assert not old.logged("running pg_rewind", start)
        same_rows(cluster)


def history(node, timeline):
    """Where the timeline began, as the node has it."""
    text = (node.data / "pg_wal" / f"{timeline:08X}.history").read_text()
    return text.split("\t")[1]


def test_two_timelines_of_one_number():
    """Two servers are promoted without knowing of each other: the new timeline
    has the same number twice.  The one that comes back would stream from the
    other, WAL that belongs to other data: it must not, and is copied anew."""
    with started() as cluster:
        old = cluster.wait_leader()
        other = next(n for n in cluster.nodes if n is not old)
        assert other.terminate() == 0
        old.sql("insert into t select 1, 'only here'")
        assert old.terminate() == 0
        old.start()
        cluster.wait_leader()
        assert old.terminate() == 0
        other.start()
        cluster.wait_leader(other_than=old)
        other.sql("insert into t select n, repeat('y', 100) from generate_series(1, 1000) n")
        start = old.log_end()
        old.start()
        wait_for("the refusal", lambda: old.logged(
            f"not following {other.name}: it is on another timeline of the same number", start), 60)
        assert history(old, 2) != history(other, 2)
        assert not old.logged("starting as a secondary", start)
        assert not old.logged("started streaming", start)
        assert old.rest("/reinitialize", "POST", {}, timeout=60)[0] == 200
        cluster.wait_healthy()
        assert history(old, 2) == history(other, 2)
        assert same_rows(cluster)[0] == 1000
