"""Passwords: not in any log, command line, environment or answer, and not in
what a crash leaves behind."""
import base64
import contextlib
import json
import os
import pathlib
import subprocess
import threading
import urllib.error
import urllib.request

import psycopg2

from cluster import BUILD, HELPERS, Cluster, children, wait_for
from diverge import FAST

SUPER, REPL, REWIND, REST = "su'p\\er-3kr1t", "repl 3kr1t%", "rewind-3kr1t", "rest-3kr1t"
# as they stand, and as quoting leaves their tell-tale part
SECRETS = ("3kr1t",)


class Watch(threading.Thread):
    """Reads command lines and environments of everything that is below some
    processes, as often as it can."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.seen = {}
        self.found = set()
        self.ends = threading.Event()

    def look(self, pid):
        for what in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
                if what == "cmdline":
                    self.seen[text.split(b"\0")[0].split(b"/")[-1].decode()] = True
                if any(s.encode() in text for s in SECRETS):
                    self.found.add((what, text))

    def run(self):
        while not self.ends.is_set():
            for node in self.nodes:
                if node.process is not None:
                    for pid in children(node.process.pid):
                        self.look(pid)
            self.ends.wait(0.002)


def test_nowhere_to_be_seen():
    authentication = {"superuser": {"username": "postgres", "password": SUPER},
                      "replication": {"username": "replicator", "password": REPL},
                      "rewind": {"username": "rewinder", "password": REWIND}}
    hba = ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256",
           "host replication all 127.0.0.1/32 scram-sha-256"]
    with Cluster(2) as cluster:
        for node in cluster.nodes:
            hook = node.dir / "hook"
            hook.write_text(f"#!/bin/sh\nenv >> {node.dir}/hook.env\n")
            hook.chmod(0o755)
            node.write_config(extra={
                "log": {"level": "DEBUG"},
                "restapi": {"authentication": {"username": "op", "password": REST}},
                "bootstrap": {"initdb": [{"encoding": "UTF8"}, "data-checksums"],
                              "post_bootstrap": str(hook)},
                "postgresql": dict(
                    FAST["postgresql"], authentication=authentication, pg_hba=hba,
                    callbacks={"on_start": str(hook), "on_role_change": str(hook)},
                    parameters={"log_statement": "all", "log_min_duration_statement": 0,
                                "log_connections": "on", "log_replication_commands": "on"})})
            node.connect = lambda node=node: psycopg2.connect(
                host=str(node.dir), port=node.pg_port, user="postgres", dbname="postgres")
            node.sql = lambda text, *a, node=node: query(node, text)
            # the configuration may come by the environment as well
            node.environment = {"PATRONI_REWIND_PASSWORD": REWIND}
        a, b = cluster.nodes
        watch = Watch(cluster.nodes)
        watch.start()
        a.start()
        wait_for("a leader", a.is_leader, 60)
        b.start()
        wait_for("the standby", b.streams, 90)
        texts = []
        # wrong and right passwords of the API, a reload, a restart, a switchover
        def call(node, path, body, password=REST):
            request = urllib.request.Request(
                f"http://127.0.0.1:{node.rest_port}{path}", json.dumps(body).encode(), {
                    "Authorization": "Basic " + base64.b64encode(
                        f"op:{password}".encode()).decode()}, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    texts.append(answer.read().decode())
                    return answer.status
            except urllib.error.HTTPError as error:
                texts.append(error.read().decode())
                return error.code
        assert call(b, "/reload", {}, "wrong") == 401
        assert call(b, "/reload", {}) in (200, 202)
        assert call(b, "/restart", {}) == 200
        wait_for("the standby", b.streams, 60)
        assert call(b, "/reinitialize", {"force": True}) == 200
        wait_for("a new copy", lambda: len(b.logged("has been created using basebackup")) == 2, 60)
        wait_for("the standby", b.streams, 60)
        assert call(a, "/switchover", {"leader": "a", "candidate": "b"}) == 200
        wait_for("the old leader", a.streams, 60)
        for node in cluster.nodes:
            for path in ("/patroni", "/cluster", "/config", "/history", "/metrics"):
                texts.append(node.rest(path)[1])
            for command in (["local", "journal", "--socket", str(node.socket)],
                            ["local", "status", "--socket", str(node.socket)]):
                done = subprocess.run([BUILD / "patronictl", *command], text=True,
                                      capture_output=True, env=dict(os.environ, HOME="/tmp"))
                texts.append(done.stdout + done.stderr)
        watch.ends.set()
        watch.join()
        # it has looked where it matters
        assert {"pg_basebackup", "initdb"} <= set(watch.seen), sorted(watch.seen)
        assert not watch.found
        for node in cluster.nodes:
            texts.append(node.log.read_text())
            texts.append((node.dir / "hook.env").read_text())
            # where the server's own files are, nobody but the owner reads
            assert (node.dir / "pgpass").stat().st_mode & 0o077 == 0
        for text in texts:
            for secret in SECRETS:
                assert secret not in text, [x for x in text.splitlines() if secret in x]
        # the store: roles and addresses, no secrets
        everything = cluster.etcd.call("/v3/kv/range", {
            "key": base64.b64encode(b"\0").decode(), "range_end": base64.b64encode(b"\0").decode()})
        for kv in everything["kvs"]:
            assert "3kr1t" not in base64.b64decode(kv["value"]).decode(errors="replace")
        # initdb's password file is gone
        assert not [p for p in pathlib.Path("/tmp").glob("*pwfile*") if p.stat().st_uid == os.getuid()]


def query(node, text):
    with contextlib.closing(node.connect()) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else None


def test_no_memory_in_core_dumps():
    def filter_of(pid):
        return int(pathlib.Path(f"/proc/{pid}/coredump_filter").read_text(), 16)
    with Cluster(1) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        assert filter_of(node.pid) == 0
        assert {filter_of(node.helper(name)) for name in HELPERS} == {0}
        # PostgreSQL's cores are whole as ever
        assert filter_of(node.postmaster()) == filter_of("self")
