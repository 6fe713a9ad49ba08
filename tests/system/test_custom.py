"""Ways to make a data directory that are not initdb and pg_basebackup alone:
custom bootstrap, custom replica methods, WAL and tablespaces elsewhere."""
import json
import os
import shutil
import subprocess

import pytest

from cluster import PG_BIN, Cluster, wait_for

FAST = {"basebackup": [{"checkpoint": "fast"}]}


def script(directory, name, body):
    path = directory / name
    path.write_text("#!/bin/sh\nset -eu\n" + body)
    path.chmod(0o755)
    return path


def test_custom_bootstrap_with_its_arguments():
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        make = script(node.dir, "make", f"""
printf '%s\\n' "$@" > {node.dir}/make.args
for a; do case $a in --datadir=*) d=${{a#--datadir=}};; esac; done
{PG_BIN}/initdb -k -U postgres -A trust "$d" > {node.dir}/make.log
""")
        after = script(node.dir, "after", f"""
printf '%s\\n' "$@" > {node.dir}/after.args
echo "$PGOPTIONS" >> {node.dir}/after.args
grep -c super-secret "$PGPASSFILE" >> {node.dir}/after.args
{PG_BIN}/psql -X -q -d "$2" -c 'create table made (n int)'
""")
        node.write_config(extra={"bootstrap": {
            "method": "mine", "mine": {"command": f"{make} 'a word'", "flag": True, "level": 3},
            "post_bootstrap": f"{after} first",
            "users": {"somebody": {"password": "x"}}}})
        cluster.start()
        # as since 4.0: refused with a word, and the bootstrap goes on
        assert node.logged("User creation is not be supported starting from v4.0.0")
        assert (node.dir / "make.args").read_text().splitlines() == [
            "a word", "--scope=test", f"--datadir={node.data}", "--flag=True", "--level=3"]
        first, conn, options, secret = (node.dir / "after.args").read_text().splitlines()
        assert first == "first"
        assert options == "-c synchronous_commit=local -c statement_timeout=0"
        assert "super-secret" not in conn and secret == "1"
        assert node.sql("select count(*) from made") == [(0,)]
        assert "trust" in (node.data / "pg_hba.conf").read_text()
        assert {"replicator", "rewinder"} <= {r[0] for r in node.sql("select rolname from pg_roles")}
        assert not list(node.dir.glob("data.*"))


def test_failed_bootstrap_is_undone():
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        fail = script(node.dir, "fail", "exit 7\n")
        node.write_config(extra={"bootstrap": {"post_init": str(fail)}})
        node.start()
        assert node.process.wait(60) == 1
        assert node.logged(r"post_init script .* returned non-zero code 7")
        assert node.logged("Failed to bootstrap cluster")
        assert cluster.etcd.get("/service/test/initialize") == (None, None)
        assert node.postmaster() is None
        assert (node.dir / "data.failed" / "PG_VERSION").exists() and not node.data.exists()
        node.write_config(extra={"bootstrap": {"post_init": None}})
        cluster.start()


@pytest.fixture
def archive():
    """A cluster that archives its WAL, and a base backup of it."""
    with Cluster(1, extra={"postgresql": dict(FAST, parameters={
            "archive_mode": "on", "archive_command": "true"})}) as cluster:
        store = cluster.dir / "archive"
        store.mkdir()
        cluster.nodes[0].write_config(extra={"postgresql": dict(FAST, parameters={
            "archive_mode": "on", "archive_command": f"cp %p {store}/%f"})})
        cluster.start()
        node = cluster.nodes[0]
        backup = cluster.dir / "backup"
        subprocess.run([PG_BIN / "pg_basebackup", "-h", "127.0.0.1", "-p", str(node.pg_port),
                        "-U", "postgres", "-D", backup, "-X", "none", "-c", "fast"], check=True)
        node.sql("create table t as select generate_series(1, 1000) n")
        node.sql("select pg_create_restore_point('here')")
        node.sql("insert into t select generate_series(1001, 2000)")
        node.sql("select pg_switch_wal()")
        wait_for("the archive", lambda: node.sql(
            "select archived_count > 0 and last_archived_wal >= pg_walfile_name("
            "(select min(pg_current_wal_lsn()) - 16777216)) from pg_stat_archiver")[0][0], 30)
        yield backup, store


def test_point_in_time_recovery(archive):
    backup, store = archive
    with Cluster(2, extra={"postgresql": FAST}) as cluster:
        for node in cluster.nodes:
            restore = script(node.dir, "restore", f"""
for a; do case $a in --datadir=*) d=${{a#--datadir=}};; esac; done
cp -a {backup} "$d"
""")
            node.write_config(extra={"postgresql": FAST, "bootstrap": {
                "method": "pitr", "pitr": {"command": str(restore), "recovery_conf": {
                    "restore_command": f"cp {store}/%f %p",
                    "recovery_target_name": "here", "recovery_target_timeline": "latest",
                    "recovery_target_action": "promote"}}}})
        cluster.start()
        leader = cluster.wait_leader()
        assert leader.sql("select count(*) from t") == [(1000,)]
        assert leader.sql("show restore_command") == [("",)]
        assert not (leader.data / "recovery.signal").exists()
        assert leader.sql("select timeline_id from pg_control_checkpoint()")[0][0] > 1
        assert cluster.replicas()[0].sql("select count(*) from t") == [(1000,)]


def test_recovery_settings_of_the_restoring_program(archive):
    """keep_existing_recovery_conf: what the program wrote is left as it is
    until the recovery has ended."""
    backup, store = archive
    with Cluster(1, extra={"postgresql": FAST}) as cluster:
        node = cluster.nodes[0]
        restore = script(node.dir, "restore", f"""
for a; do case $a in --datadir=*) d=${{a#--datadir=}};; esac; done
cp -a {backup} "$d"
cat >> "$d/postgresql.auto.conf" <<X
restore_command = 'cp {store}/%f %p'
recovery_target_name = 'here'
recovery_target_action = 'promote'
work_mem = '19MB'
X
touch "$d/recovery.signal"
""")
        node.write_config(extra={"postgresql": FAST, "bootstrap": {
            "method": "own", "own": {"command": str(restore),
                                     "keep_existing_recovery_conf": True}}})
        cluster.start()
        assert node.sql("select count(*) from t") == [(1000,)]
        assert node.sql("select timeline_id > 1 from pg_control_checkpoint()") == [(True,)]
        # afterwards it is a node like any other
        wait_for("the end of it", lambda: "restore_command" not in
                 (node.data / "postgresql.auto.conf").read_text(), 30)
        assert node.sql("show work_mem") == [("19MB",)]
        assert not (node.data / "recovery.signal").exists()


def test_replica_methods_in_their_order():
    with Cluster(2) as cluster:
        a, b = cluster.nodes
        bad = script(b.dir, "bad", f"printf '%s\\n' \"$@\" > {b.dir}/bad.args\nexit 3\n")
        good = script(b.dir, "good", f"""
printf '%s\\n' "$@" > {b.dir}/good.args
for a; do case $a in
--datadir=*) d=${{a#--datadir=}};;
--connstring=*) c=${{a#--connstring=}};;
esac; done
grep -c repl-secret "$PGPASSFILE" >> {b.dir}/good.args
exec {PG_BIN}/pg_basebackup -c fast -X stream -D "$d" -d "$c"
""")
        b.write_config(extra={"postgresql": {
            "create_replica_methods": ["bad", "good", "basebackup"],
            "bad": {"command": f"{bad} 'one word'", "retries": 2},
            "good": {"command": str(good), "no_params": False, "keep_data": False}}})
        cluster.start()
        bad_args = (b.dir / "bad.args").read_text().splitlines()
        assert bad_args[:2] == ["one word", "--retries=2"]
        assert bad_args[2:5] == ["--scope=test", "--role=replica", f"--datadir={b.data}"]
        assert bad_args[5].startswith("--connstring=") and "secret" not in bad_args[5]
        assert b.logged("Error creating replica using method bad: .*exited with code=3")
        assert (b.dir / "good.args").read_text().splitlines()[-1] == "1"
        assert b.logged("replica has been created using good")


def test_wal_and_tablespaces_elsewhere():
    with Cluster(2) as cluster:
        a, b = cluster.nodes
        for node in (a, b):
            (node.dir / "space").mkdir()
            node.write_config(extra={
                "bootstrap": {"initdb": [{"auth": "trust"}, "data-checksums",
                                         {"waldir": str(node.dir / "wal")}]},
                "postgresql": {"basebackup": [
                    {"checkpoint": "fast"}, {"waldir": str(node.dir / "wal")},
                    {"tablespace-mapping": f"{a.dir}/space={node.dir}/space"}]}})
        a.start()
        wait_for("a leader", a.is_leader, 60)
        a.sql(f"create tablespace s location '{a.dir}/space'")
        a.sql("create table t tablespace s as select generate_series(1, 1000) n")
        b.start()
        cluster.wait_healthy()
        assert (b.data / "pg_wal").resolve() == (b.dir / "wal").resolve()
        assert list((b.dir / "space").iterdir())
        marker = next((b.dir / "space").iterdir()) / "foreign"
        marker.write_text("stale")
        (b.dir / "wal" / "stale").write_text("stale")
        # an own directory of the operator's is none of ours
        keep = b.dir / "keep"
        keep.mkdir()
        (keep / "file").write_text("precious")
        os.symlink(keep, b.data / "link")
        start = b.log_end()
        assert b.rest("/reinitialize", "POST", {"force": True}, timeout=60)[0] == 200
        wait_for("a new copy", lambda: b.logged("replica has been created using basebackup", start))
        cluster.wait_healthy()
        assert b.sql("select count(*) from t") == [(1000,)]
        assert not marker.exists() and not (b.dir / "wal" / "stale").exists()
        assert (keep / "file").read_text() == "precious"
        assert len(b.logged("Removing user defined directory", start)) == 2


def test_foreign_directory_is_never_removed():
    complaint = "system ID is invalid; consider doing reinitialize"
    with Cluster(2, extra={"postgresql": FAST}) as cluster:
        a, b = cluster.nodes
        b.data.mkdir(mode=0o700)
        (b.data / "thesis.tex").write_text("years of work")
        a.start()
        wait_for("a leader", a.is_leader, 60)
        b.start()
        wait_for("a complaint", lambda: b.logged(complaint))
        wait_for("the answer", lambda: b.rest("/reinitialize", "POST", {"force": True},
                                              timeout=60)[0])
        wait_for("the refusal", lambda: b.logged("is not a PostgreSQL data directory"), 30)
        end = b.log_end()
        wait_for("another cycle", lambda: b.logged(complaint, end), 30)
        assert (b.data / "thesis.tex").read_text() == "years of work"


def test_data_of_another_cluster_is_never_removed():
    with Cluster(2, extra={"postgresql": FAST}) as cluster:
        a, b = cluster.nodes
        a.start()
        wait_for("a leader", a.is_leader, 60)
        subprocess.run([PG_BIN / "initdb", "-N", "-D", b.data, "-U", "postgres"],
                       check=True, stdout=subprocess.DEVNULL)
        control = (b.data / "global" / "pg_control").read_bytes()
        b.start()
        assert b.process.wait(60) == 1
        assert b.logged("system ID mismatch, node b belongs to a different cluster")
        assert (b.data / "global" / "pg_control").read_bytes() == control
        # a copy was once cut off here; since then somebody has put this there
        (b.dir / "data.creating").touch()
        b.start()
        cluster.wait_healthy()
        assert b.logged("The creation of .* was cut off")
        assert (b.dir / "data.failed" / "global" / "pg_control").read_bytes() == control


@pytest.mark.skipif(not shutil.which("pgbackrest"), reason="pgBackRest is not installed")
def test_pgbackrest():
    with Cluster(2) as cluster:
        a, b = cluster.nodes
        repo = cluster.dir / "repo"
        repo.mkdir()

        def tool(node, *arguments):
            return ["pgbackrest", f"--config={node.dir}/backrest.conf", "--stanza=test", *arguments]
        for node in (a, b):
            (node.dir / "spool").mkdir()
            (node.dir / "backrest.conf").write_text(f"""[global]
repo1-path={repo}
log-path={node.dir}
lock-path={node.dir}
spool-path={node.dir}/spool
log-level-console=warn
start-fast=y
[test]
pg1-path={node.data}
pg1-port={node.pg_port}
pg1-socket-path={node.dir}
pg1-user=postgres
""")
            node.write_config(extra={"postgresql": {
                "create_replica_methods": ["pgbackrest", "basebackup"],
                "pgbackrest": {"command": " ".join(tool(node, "--delta", "restore")),
                               "keep_data": True, "no_params": True},
                "parameters": {"archive_mode": "on",
                               "archive_command": " ".join(tool(node, "archive-push", "%p"))}}})
        a.start()
        wait_for("a leader", a.is_leader, 60)
        subprocess.run(tool(a, "stanza-create"), check=True)
        a.sql("create table t as select generate_series(1, 1000) n")
        subprocess.run(tool(a, "backup", "--type=full"), check=True)
        a.sql("insert into t select generate_series(1001, 2000)")
        b.start()
        cluster.wait_healthy(60)
        assert b.logged("replica has been created using pgbackrest")
        wait_for("all rows", lambda: b.sql("select count(*) from t") == [(2000,)], 30)
        assert not (b.data / "recovery.signal").exists()
        start = b.log_end()
        assert b.rest("/reinitialize", "POST", {"force": True}, timeout=60)[0] == 200
        wait_for("a new copy", lambda: b.logged("replica has been created using pgbackrest", start))
        cluster.wait_healthy(60)
        # and it can lead
        status, text = a.rest("/switchover", "POST", {"leader": "a", "candidate": "b"}, timeout=60)
        assert status == 200, text
        cluster.wait_healthy(60)
        assert b.is_leader()
