"""A disk that is full: a clear error, nothing broken, and all is well again
once there is space."""
import pytest

import small_disk
from cluster import Cluster, wait_for
from diverge import FAST

pytestmark = pytest.mark.skipif(not small_disk.possible(),
                                reason="no user namespaces for ordinary users")
FULL = "No space left on device"


def test_during_basebackup():
    with Cluster(2, extra=FAST) as cluster:
        a, b = cluster.nodes
        disk = b.dir / "disk"
        disk.mkdir()
        b.data = disk / "data"
        b.write_config(extra=FAST)
        # the copy and its WAL need some 60 MB; after that there must be some
        small_disk.mount(b, disk, 200)
        b.prefix += ["sh", "-c", f'head -c 185M /dev/zero >{disk}/ballast; exec "$@"', "sh"]
        a.start()
        wait_for("a leader", a.is_leader, 60)
        a.sql("create table t as select n, repeat('x', 500) from generate_series(1, 20000) n")
        b.start()
        helper = b.helper("postgres")
        ballast = small_disk.seen(b, disk / "ballast")
        wait_for("the failure", lambda: b.logged("failed to bootstrap from leader 'a'"), 90)
        assert b.logged(FULL)
        assert b.logged("Error when fetching backup: pg_basebackup exited with code=1")
        b.data = small_disk.seen(b, disk / "data")
        wait_for("an empty directory", lambda: not (b.data / "PG_VERSION").exists(), 30, every=0.01)
        ballast.unlink()
        cluster.wait_healthy()
        assert b.sql("select count(*) from t") == [(20000,)]
        assert b.helper("postgres") == helper and b.process.poll() is None


def test_while_configuration_is_written():
    with Cluster(1, extra=FAST) as cluster:
        node = cluster.nodes[0]
        disk = node.dir / "conf"
        disk.mkdir()
        # files in place of a separate directory must be there beforehand
        node.write_config(extra={"postgresql": dict(FAST["postgresql"], config_dir=str(disk))})
        small_disk.mount(node, disk, 1)
        node.prefix += ["sh", "-c", f'touch {disk}/postgresql.conf; exec "$@"', "sh"]
        node.start()
        wait_for("a leader", node.is_leader, 60)
        conf = small_disk.seen(node, disk / "postgresql.conf")
        before = conf.read_text()
        started = node.sql("select pg_postmaster_start_time()")
        ballast = small_disk.seen(node, disk / "ballast")
        small_disk.fill(ballast)
        start = node.log_end()
        status, text = node.rest("/config", "PATCH", {
            "postgresql": {"parameters": {"work_mem": "17MB"}}})
        assert status == 200, text
        wait_for("the complaint", lambda: len(node.logged(
            f"ERROR: {disk}/postgresql.conf.*{FULL}", start)) >= 2, 60)
        assert conf.read_text() == before
        assert node.is_leader() and node.writable()
        assert {p.name for p in conf.parent.iterdir()} >= {"postgresql.conf", "pg_hba.conf"}
        assert not [p.name for p in conf.parent.iterdir() if ".new." in p.name]
        # a restart of the controller finds the same
        assert node.sql("show work_mem") == [("4MB",)]
        ballast.unlink()
        wait_for("the new value", lambda: node.sql("show work_mem") == [("17MB",)], 60)
        assert "work_mem = '17MB'" in conf.read_text()
        assert node.sql("select pg_postmaster_start_time()") == started
