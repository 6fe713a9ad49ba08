"""Real clusters for the system tests: etcd and nodes on loopback.

A Cluster starts one etcd and any number of nodes, each the real daemon with
its helpers and PostgreSQL, in a temporary directory with ports of its own.
Everything it starts it stops again, by pid.  Nothing here sleeps for luck:
wait_for() polls a condition with a generous bound and says what it saw last.
"""
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
PG_BIN = pathlib.Path(
    os.environ.get("PG_BIN")
    or sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1])
# A sanitizer build on a busy machine is several times slower.
PATIENCE = float(os.environ.get("PATIENCE", "3" if "san" in BUILD.name else "1"))
HELPERS = ("dcs", "rest", "postgres", "watchdog")


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_for(what, condition, timeout=60, every=0.05):
    """Wait until condition() is truthy and return its value."""
    deadline = time.monotonic() + timeout * PATIENCE
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, psycopg2.Error, ValueError, LookupError,
                http.client.HTTPException) as error:
            last = error
        if time.monotonic() > deadline:
            raise Timeout(f"waited {timeout * PATIENCE:.0f} s for {what}; last: {last!r}")
        time.sleep(every)


class Ports:
    """Ports that no other run on this machine uses, by lock files."""

    def __init__(self):
        self.locks = []

    def take(self):
        base = pathlib.Path(tempfile.gettempdir())
        for _ in range(1000):
            port = random.randrange(21000, 29000)
            path = base / f".patroni-test-port-{port}"
            try:
                fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            except PermissionError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            with contextlib.closing(socket.socket()) as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    os.close(fd)
                    continue
            self.locks.append((fd, path))
            return port
        raise RuntimeError("no free port")

    def close(self):
        for fd, path in self.locks:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(fd)
        self.locks = []


def proc_stat(pid):
    """(state, ppid) of a process or None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2:].split()
    return fields[0], int(fields[1])


def alive(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children(pid):
    """All living descendants, depth first, the process itself last."""
    by_parent = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = proc_stat(entry.name)
            if stat:
                by_parent.setdefault(stat[1], []).append(int(entry.name))
    found = []

    def walk(p):
        for c in by_parent.get(p, []):
            walk(c)
        found.append(p)

    walk(pid)
    return found


def cmdline(pid):
    try:
        raw = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def kill(pid, sig):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


class Etcd:
    """One real etcd server that can be stopped, frozen and restarted."""

    host = "127.0.0.1"
    prefix = ()  # of the command: what puts it elsewhere

    def __init__(self, directory, ports):
        self.dir = directory / "etcd"
        self.client = ports.take()
        self.peer = ports.take()
        self.log = directory / "etcd.log"
        self.process = None

    @property
    def url(self):
        return f"http://{self.host}:{self.client}"

    def start(self):
        peer = f"http://{self.host}:{self.peer}"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, "etcd", "--name", "e", "--data-dir", str(self.dir),
                 "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", f"e={peer}", "--log-level", "error",
                 "--unsafe-no-fsync"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for("etcd", lambda: self.call("/v3/maintenance/status", {}), 30)

    def signal(self, sig):
        os.kill(self.process.pid, sig)

    def stop(self):
        if self.process is None:
            return
        kill(self.process.pid, signal.SIGCONT)
        kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def call(self, path, body):
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def get(self, key):
        """(value, kv) of one key, or (None, None)."""
        import base64
        reply = self.call("/v3/kv/range", {"key": base64.b64encode(key.encode()).decode()})
        if not reply.get("kvs"):
            return None, None
        kv = reply["kvs"][0]
        return base64.b64decode(kv.get("value", "")).decode(), kv

    def put(self, key, value):
        import base64
        self.call("/v3/kv/put", {"key": base64.b64encode(key.encode()).decode(),
                                 "value": base64.b64encode(value.encode()).decode()})

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            return answer.read().decode()


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
        self.environment = {}
        self.write_config(tags or {}, extra or {})

    def write_config(self, tags=None, extra=None):
        document = {
            "scope": self.cluster.scope,
            "name": self.name,
            "control_socket": str(self.socket),
            "log": {"level": "DEBUG" if os.environ.get("DEBUG") else "INFO"},
            "etcd3": {"hosts": [f"{self.cluster.etcd.host}:{self.cluster.etcd.client}"]},
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
    """etcd and n nodes; a context manager that leaves nothing behind."""

    def __init__(self, nodes=3, dcs=None, extra=None, tags=None):
        self.scope = "test"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
        self.ports = Ports()
        self.dcs = dcs or {}
        self.etcd = Etcd(self.dir, self.ports)
        self.nodes = []
        tags = tags or {}
        for i in range(nodes):
            name = chr(ord("a") + i)
            self.nodes.append(Node(self, name, tags.get(name), extra))

    def __enter__(self):
        self.etcd.start()
        return self

    def __exit__(self, kind, value, trace):
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.stop()
        self.etcd.stop()
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
        """(owner, create_revision) of the leader key."""
        value, kv = self.etcd.get(f"/service/{self.scope}/leader")
        return (value, int(kv["create_revision"])) if kv else (None, None)
