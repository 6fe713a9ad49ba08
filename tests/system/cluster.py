"""Real clusters for the system tests: a store and nodes on loopback.

A Cluster starts one store (stores.py; DCS=etcd3 is the default) and any number
of nodes, each the real daemon with its helpers and PostgreSQL, in a temporary
directory with ports of its own.
Everything it starts it stops again, by pid.  Nothing here sleeps for luck:
wait_for() polls a condition with a generous bound and says what it saw last.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import psycopg2

import stores
from basics import (  # noqa: F401 -- the tests take them from here
    BUILD, PATIENCE, PG_BIN, ROOT, Ports, Timeout, alive, children, cmdline, kill, proc_stat,
    wait_for)

Etcd = stores.Etcd3
if "DCS" in os.environ:  # patronictl reads a variable of that name
    os.environ["TEST_DCS"] = os.environ.pop("DCS")
HELPERS = ("dcs", "rest", "postgres", "watchdog")


class Node:
    """One daemon with its PostgreSQL."""

    host = "127.0.0.1"
    prefix = ()  # of the command: what puts it elsewhere

    def __init__(self, cluster, name, tags=None, extra=None):
        self.cluster = cluster
        self.name = name
        self.dir = cluster.dir / name
        self.dir.mkdir()
        self.data = self.dir / "data"
        self.pg_port = cluster.ports.take()
        self.rest_port = cluster.ports.take()
        self.log = self.dir / "log"
        self.config = self.dir / "patroni.yml"
        self.socket = self.dir / "control.sock"
        self.process = None
        self.environment = cluster.etcd.node_environment()
        self.write_config(tags or {}, extra or {})

    def write_config(self, tags=None, extra=None):
        document = {
            "scope": self.cluster.scope,
            "name": self.name,
            "control_socket": str(self.socket),
            "log": {"level": "DEBUG" if os.environ.get("DEBUG") else "INFO"},
            self.cluster.etcd.section: self.cluster.etcd.node_config(self.cluster.scope),
            "restapi": {"listen": f"{self.host}:{self.rest_port}",
                        "connect_address": f"{self.host}:{self.rest_port}"},
            "bootstrap": {
                "dcs": dict({"ttl": 20, "loop_wait": 5, "retry_timeout": 5,
                             "postgresql": {"use_pg_rewind": True, "parameters": {
                                 "wal_keep_size": "64MB", "fsync": "off",
                                 "max_connections": 60, "shared_buffers": "16MB"}}},
                            **self.cluster.dcs),
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{self.host}:{self.pg_port}",
                "connect_address": f"{self.host}:{self.pg_port}",
                "data_dir": str(self.data),
                "bin_dir": str(PG_BIN),
                "pgpass": str(self.dir / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": "super-secret"},
                    "replication": {"username": "replicator", "password": "repl-secret"},
                    "rewind": {"username": "rewinder", "password": "rewind-secret"}},
                "pg_hba": ["local all all trust",
                           "host all all 127.0.0.1/32 trust",
                           "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": str(self.dir)},
            },
        }
        if tags:
            document["tags"] = tags
        merge(document, extra or {})
        # JSON is YAML: no YAML writer is needed
        self.config.write_text(json.dumps(document, indent=1))

    def start(self):
        assert self.process is None or self.process.poll() is not None
        self.cluster.etcd.member(self.cluster.scope, self.name)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(BUILD / "patroni"), str(self.config)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir,
                env=dict(os.environ, **self.environment), start_new_session=True)
        return self

    # -- processes

    @property
    def pid(self):
        return self.process.pid

    def helpers(self):
        """{name: pid} of the helper processes."""
        found = {}
        for pid in children(self.pid):
            match = re.match(r"patroni: (\w+)", cmdline(pid))
            if match and match.group(1) in HELPERS and proc_stat(pid)[1] == self.pid:
                found[match.group(1)] = pid
        return found

    def helper(self, name):
        return wait_for(f"helper {name} of {self.name}", lambda: self.helpers().get(name), 30)

    def postmaster(self):
        """Pid of the running postmaster or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        return pid if alive(pid) and "postgres" in cmdline(pid) else None

    def signal(self, sig):
        kill(self.pid, sig)

    def terminate(self, timeout=60):
        """Stop the daemon as an init system does; its exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout * PATIENCE)

    def kill_tree(self, also_postgres=True):
        """kill -9 the master, all helpers and (optionally) PostgreSQL."""
        pids = children(self.pid)
        postmaster = self.postmaster()
        if postmaster:
            tree = children(postmaster)
            pids = [p for p in pids if p not in tree]
            if also_postgres:
                pids += tree
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        for pid in pids:
            kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Tear down, whatever state it is in."""
        postmaster = self.postmaster()
        if self.process is not None and self.process.poll() is None:
            for pid in children(self.pid):
                kill(pid, signal.SIGCONT)
            self.kill_tree()
        elif postmaster:
            for pid in children(postmaster):
                kill(pid, signal.SIGKILL)

    # -- what it says

    def rest(self, path="/patroni", method="GET", body=None, timeout=10):
        """(status, text)"""
        connection = http.client.HTTPConnection(self.host, self.rest_port, timeout=timeout)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def status(self, path):
        return self.rest(path)[0]

    def patroni(self):
        return json.loads(self.rest("/patroni")[1])

    def connect(self, **options):
        connection = psycopg2.connect(
            host=self.host, port=self.pg_port, user="postgres", dbname="postgres",
            connect_timeout=5, **options)
        connection.autocommit = True
        return connection

    def sql(self, text, *arguments):
        """Rows of one statement on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            with connection.cursor() as cursor:
                cursor.execute(text, arguments)
                return cursor.fetchall() if cursor.description else None

    def logged(self, pattern, start=0):
        """Matches of a pattern in the log from a position on."""
        with open(self.log, errors="replace") as log:
            log.seek(start)
            return re.findall(pattern, log.read())

    def log_end(self):
        return self.log.stat().st_size

    # -- conditions

    def is_leader(self):
        return self.status("/primary") == 200

    def writable(self):
        return self.sql("select not pg_is_in_recovery()")[0][0]

    def streams(self):
        """Runs as a standby that streams from its primary."""
        document = self.patroni()
        return (document["state"] == "running" and document["role"] == "replica"
                and document.get("replication_state") == "streaming")


def merge(base, overlay):
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        elif value is None:
            base.pop(key, None)
        else:
            base[key] = value


class Cluster:
    """A store and n nodes; a context manager that leaves nothing behind.

    store: its name, default from the environment (DCS).  The attribute `etcd`
    is that store, whichever it is: all have get(), put(), signal() and so on.
    """

    def __init__(self, nodes=3, dcs=None, extra=None, tags=None, store=None):
        self.scope = "test"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
        self.ports = Ports()
        self.dcs = dcs or {}
        self.etcd = stores.new(
            store or os.environ.get("TEST_DCS", "etcd3"), self.dir, self.ports)
        self.nodes = []
        tags = tags or {}
        for i in range(nodes):
            name = chr(ord("a") + i)
            self.add(name, tags.get(name), extra)

    def add(self, name, tags=None, extra=None):
        """One more node, not started."""
        self.nodes.append(Node(self, name, tags, extra))
        return self.nodes[-1]

    def __enter__(self):
        self.etcd.start()
        return self

    def __exit__(self, kind, value, trace):
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.stop()
        self.etcd.close()
        self.ports.close()
        keep = os.environ.get("KEEP")
        if kind is not None and not keep:
            self.show_logs()
        if keep:
            print(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def show_logs(self, lines=60):
        for node in self.nodes:
            if node.log.exists():
                tail = node.log.read_text(errors="replace").splitlines()[-lines:]
                print(f"---- log of {node.name}", *tail, sep="\n")

    def __getitem__(self, name):
        return next(n for n in self.nodes if n.name == name)

    def start(self):
        """Bootstrap: the first node leads, the others join and stream."""
        self.nodes[0].start()
        wait_for("the first node to lead", lambda: self.nodes[0].is_leader(), 90)
        for node in self.nodes[1:]:
            node.start()
        self.wait_healthy()
        return self

    def running(self):
        return [n for n in self.nodes if n.process and n.process.poll() is None]

    def leader(self):
        """The node that the store names and that is writable, or None."""
        name, _ = self.etcd.get(f"/service/{self.scope}/leader")
        for node in self.running():
            if node.name == name and node.is_leader() and node.writable():
                return node
        return None

    def wait_leader(self, other_than=None, timeout=90):
        def found():
            node = self.leader()
            return node if node is not other_than else None
        return wait_for("a writable leader", found, timeout)

    def replicas(self):
        leader = self.leader()
        return [n for n in self.running() if n is not leader]

    def wait_healthy(self, timeout=120):
        """A leader, and every other running node streams from it."""
        leader = self.wait_leader(timeout=timeout)

        def all_stream():
            now = self.leader()
            if now is None:
                return False
            others = [n for n in self.running() if n is not now]
            names = {r[0] for r in now.sql(
                "select application_name from pg_stat_replication where state = 'streaming'")}
            return all(n.streams() and n.name in names for n in others)
        wait_for("all replicas to stream", all_stream, timeout)
        return self.leader() or leader

    def leader_key(self):
        """(owner, when it was created in the store's own count) of the leader key."""
        key = f"/service/{self.scope}/leader"
        value, kv = self.etcd.get(key)
        if kv is None:
            return None, None
        # where a takeover within the node makes the key anew, the owner is what counts
        return value, self.etcd.created(kv) if self.etcd.keeps_entry else None
