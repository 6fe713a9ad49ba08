"""A stage for patronictl: stored cluster views in a real etcd, and members that
answer as a script says.

The members are doubles because their answers are: those of other versions, of
members in trouble, and of every status that the tool has a word for.  They
are strict: a request that the script of the test does not expect is answered
with 418 and noted, and what was asked is part of the golden text.
"""
import base64
import contextlib
import copy
import datetime
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from cluster import BUILD, Etcd, Ports

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
CONFIG = {"loop_wait": 1, "ttl": 30, "retry_timeout": 10,
          "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 200}}}
LSN = 0x36000000


def member(host, role="replica", state="running", **more):
    """A member key as 4.1 writes it."""
    document = {"conn_url": f"postgres://{host}/postgres",
                "api_url": "http://API/patroni", "state": state, "role": role,
                "version": "4.1.4", "timeline": 7}
    if role == "replica" and state == "running":
        document.update(replication_state="streaming", receive_lsn=LSN, replay_lsn=LSN,
                        xlog_location=LSN)
    document.update(more)
    return {k: v for k, v in document.items() if v is not None}


def view(*, leader="db1", sync=None, config=None, failover=None, history=None, **members):
    keys = {"initialize": "7480031112223334445", "leader": leader,
            "status": json.dumps({"optime": LSN}),
            "config": json.dumps(dict(CONFIG, **(config or {}))),
            "history": json.dumps([
                [5, 67108960, "no recovery target specified",
                 "2026-03-01T08:15:02.123456+00:00", "db2"],
                [6, 134217888, "no recovery target specified"]] if history is None else history)}
    if sync:
        keys["sync"] = json.dumps({"leader": leader, "sync_standby": sync})
    if failover:
        keys["failover"] = json.dumps(failover)
    for name, document in members.items():
        keys[f"members/{name}"] = document if isinstance(document, str) else json.dumps(document)
    return {k: v for k, v in keys.items() if v is not None}


ORDERS = {"db1": member("10.1.0.11:5432", "primary"), "db2": member("10.1.0.12:5432"),
          "db3": member("10.1.0.13:5432", replay_lsn=0x35000000)}
REASON = {"max_connections": {"old_value": "100", "new_value": "200"},
          "shared_preload_libraries": {
              "old_value": "", "new_value": "pg_stat_statements,auto_explain"}}

VIEWS = {
    # the example of the specification
    "orders": view(sync="db2", config={"synchronous_mode": True}, **ORDERS),
    "plain": view(**ORDERS),
    # paused, a switchover planned, a restart planned and one due, tags
    "busy": view(
        sync="db2", config={"synchronous_mode": True, "pause": True},
        failover={"leader": "db1", "member": "db2", "scheduled_at": "2036-12-01T03:00:00+00:00"},
        db1=ORDERS["db1"],
        db2=member("10.1.0.12:5432", scheduled_restart={
            "schedule": "2036-12-01T03:00:00+00:00", "postgres_version": "15.9"}),
        db3=member("10.1.0.13:5432", pending_restart=True, pending_restart_reason=REASON,
                   tags={"zone": "b", "nofailover": True, "list": ["a, b", 1]})),
    "planned": view(failover={"leader": "db1", "scheduled_at": "2036-12-01T03:00:00+00:00"},
                    **ORDERS),
    # replicates by way of another; two in a circle; one from nowhere
    "cascade": view(
        db1=ORDERS["db1"], db2=member("10.1.0.12:5432"),
        db3=member("10.1.0.13:5432", tags={"replicatefrom": "db2"}),
        db4=member("10.1.0.14:5432", tags={"replicatefrom": "db5"}),
        db5=member("10.1.0.15:5432", tags={"replicatefrom": "db4"}),
        db6=member("10.1.0.16:5432", tags={"replicatefrom": "nobody"})),
    "headless": view(leader=None, **{k: v for k, v in ORDERS.items() if k != "db1"}),
    "standby": view(
        config={"standby_cluster": {"host": "10.9.0.1", "port": 5432}},
        db1=member("10.1.0.11:5432", "standby_leader", replication_state="streaming",
                   receive_lsn=LSN, replay_lsn=LSN, xlog_location=LSN),
        db2=ORDERS["db2"]),
    "quorum": view(sync="db2,db3", config={"synchronous_mode": "quorum"}, **ORDERS),
    "ports": view(db1=member("127.0.0.1:5433", "primary"), db2=member("[::1]:5434"),
                  **{"größe": member("127.0.0.1:5435", tags={"名前": "東京 — ü"})}),
    "alone": view(db1=ORDERS["db1"]),
    # keys that are not what they should be, and members of other versions
    "rubbish": dict(
        view(leader="old", history=["x"], broken="{", empty="", number="17", list="[]",
             old=json.dumps({"conn_url": "postgres://10.0.0.1:5432/postgres",
                             "api_url": "http://DEAD/patroni", "state": "running",
                             "role": "master", "xlog_location": LSN, "version": "2.1.4"}),
             older=json.dumps({"conn_url": "postgres://10.0.0.2:5432/postgres",
                               "state": "running", "role": "replica", "xlog_location": LSN - 9}),
             poor=json.dumps({"state": "stopped"}),
             types=json.dumps({"conn_url": 5, "api_url": [], "state": {}, "role": None,
                               "timeline": "x", "xlog_location": "y", "tags": 7,
                               "pending_restart": "perhaps", "scheduled_restart": "soon"})),
        config="{broken", failover="nonsense", sync="[1]", status="x", initialize=""),
    "keyless": {"leader": "ghost", "initialize": "1"},
    "unreachable": view(**{k: dict(v, api_url="http://DEAD/patroni") for k, v in ORDERS.items()}),
    "mute": view(**{k: ORDERS[k] for k in ("db1", "db2")}),
    # the coordinator and two workers
    "shard/0": view(leader="c0", history=[], c0=member("10.0.0.1:5432", "primary", timeline=1),
                    c1=member("10.0.0.2:5432", timeline=None, replication_state=None,
                              receive_lsn=None, replay_lsn=None, xlog_location=None)),
    "shard/1": view(leader="w0", config={"pause": True}, history=[[1, 7, "why"]],
                    w0=member("10.0.0.1:5432", "primary", timeline=1)),
    "shard/10": view(
        leader="x0", history=[],
        failover={"leader": "x0", "scheduled_at": "2036-12-01T03:00:00+00:00"},
        x0=member("10.0.0.5:5432", "primary", timeline=1),
        x1=member("10.0.0.6:5432", timeline=1, tags={"replicatefrom": "x0"})),
    # no groups: a leading zero, not a number, too large
    **{f"shard/{name}": view(leader="bad", bad=member("10.9.9.9:5432", "primary"))
       for name in ("01", "x", "-1", "4294967296")},
}
VIEWS["mute"]["members/db1"] = json.dumps(
    {k: v for k, v in ORDERS["db1"].items() if k != "api_url"})
CITUS = {"citus": {"group": 0, "database": "postgres"}}


class Members:
    """The REST API of all members: answers by a script, notes what was asked."""

    def __init__(self, port):
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                status, text = stage.next(
                    self.command, self.path, body + stage.credentials(self.headers))
                data = text.encode()
                self.close_connection = True
                with contextlib.suppress(ConnectionError):  # it may be gone by now
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.wfile.write(data)
            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.script = {}
        self.asked = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def play(self, script):
        """{"POST /restart": (200, "text") | [one after the other] | callable}"""
        self.script = copy.copy(script or {})
        self.asked = []

    @staticmethod
    def credentials(headers):
        """Who asks; and what the headers must and must not be (6.1)."""
        wrong = [name for name, bad in (
            ("Content-Type", headers.get("Content-Type") is not None),
            ("User-Agent", not (headers.get("User-Agent") or "").startswith("Patroni/")),
            ("Accept-Encoding", headers.get("Accept-Encoding") != "identity")) if bad]
        kind, _, value = (headers.get("Authorization") or "").partition(" ")
        who = f" as {base64.b64decode(value).decode()}" if kind == "Basic" else ""
        return who + (f" WRONG HEADERS {wrong}" if wrong else "")

    def next(self, method, path, body):
        self.asked.append(f"{method} {path} {body}".rstrip().replace("  ", " "))
        entry = self.script.get(f"{method} {path}", (418, "not in the script"))
        if isinstance(entry, list):
            self.script[f"{method} {path}"] = entry[1:] or entry[0]
            entry = entry[0]
        return entry() if callable(entry) else entry

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Stage:
    """etcd with the views and the members; a context manager."""

    def __enter__(self):
        self.ports = Ports()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
        self.etcd = Etcd(self.dir, self.ports)
        self.etcd.start()
        self.api = self.ports.take()
        self.dead = self.ports.take()  # nobody listens there
        self.members = Members(self.api)
        self.pg_port = None
        return self

    def __exit__(self, *_):
        self.members.close()
        self.etcd.stop()
        self.ports.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def put(self, cluster, key, value):
        if isinstance(value, (dict, list)):
            value = json.dumps(value)
        value = value.replace("//API/", f"//127.0.0.1:{self.api}/").replace(
            "//DEAD/", f"//127.0.0.1:{self.dead}/")
        if self.pg_port:
            value = value.replace("@PG", f"127.0.0.1:{self.pg_port}")
        self.etcd.put(f"/service/{cluster}/{key}", value)

    def get(self, cluster, key):
        return self.etcd.get(f"/service/{cluster}/{key}")[0]

    def store(self, cluster, keys):
        start = base64.b64encode(f"/service/{cluster}/".encode()).decode()
        end = base64.b64encode(f"/service/{cluster}0".encode()).decode()
        self.etcd.call("/v3/kv/deleterange", {"key": start, "range_end": end})
        for key, value in keys.items():
            self.put(cluster, key, value)

    def reset(self, arguments):
        """Store anew the views that a command line names."""
        words = set(arguments)
        for name, keys in VIEWS.items():
            if name.split("/")[0] in words:
                if name.endswith("/0") or "/" not in name:
                    self.store(name.split("/")[0], {})
                for key, value in keys.items():
                    self.put(name, key, value)

    def config(self, **more):
        document = {"etcd3": {"hosts": [f"127.0.0.1:{self.etcd.client}"]}}
        document.update(more)
        path = self.dir / "ctl.yml"
        path.write_text(json.dumps(document))
        return path

    def command(self, arguments, config=None):
        return [str(BUILD / "patronictl"), "-c", str(self.config(**(config or {}))), *arguments]

    def environment(self, env=None):
        return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8",
                # a program of one command: the kernel takes back what it holds
                "ASAN_OPTIONS": "detect_leaks=0",
                "TZ": "XXX3", "TMPDIR": str(self.dir), **(env or {})}

    def plain(self, text):
        """What differs from run to run under a name of its own."""
        text = text.replace(str(self.dir), "DIR").replace(f"127.0.0.1:{self.api}", "API")
        text = text.replace(f"127.0.0.1:{self.dead}", "DEAD")
        text = text.replace(f"127.0.0.1 port {self.dead}", "DEAD")
        if self.pg_port:
            text = text.replace(f"{self.pg_port}", "PGPORT")
        text = re.sub(r"^patronictl version \S+$", "patronictl version VERSION", text, flags=re.M)
        today = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=3)
        for day in (today, today + datetime.timedelta(days=1), today - datetime.timedelta(days=1)):
            date = day.strftime("%Y-%m-%d")
            text = re.sub(date + r" \d\d:\d\d:\d\d\.\d{5}\b", "<TIME WITH 5 DIGITS>", text)
            text = re.sub(date + r" \d\d:\d\d:\d\d,\d{3}", "<LOG TIME>", text)
            text = re.sub(date + r" \d\d:\d\d:\d\d", "<TIME>", text)
            text = re.sub(date + r"T\d\d:\d\d\b(?!:)", "<EXAMPLE>", text)
        return text

    def run(self, arguments, *, config=None, text=None, env=None, script=None):
        """The golden text of one run."""
        self.reset(arguments)
        self.members.play(script)
        done = subprocess.run(self.command(arguments, config), input=(text or "").encode(),
                              capture_output=True, timeout=60, env=self.environment(env))
        shown = " ".join("''" if a == "" else a if re.fullmatch(r"[\w@%+=:,./\[\]-]+", a)
                         else "'" + a.replace("\n", "\\n") + "'" for a in arguments)
        lines = [f"==== {shown}" + (f"  # with {json.dumps(config)}" if config else "")]
        if text is not None:
            lines.append("<<<< " + json.dumps(text))
        out = "\n".join(lines) + "\n" + done.stdout.decode()
        if not out.endswith("\n"):
            out += "\n(no newline)\n"
        if done.stderr:
            out += "---- stderr\n" + done.stderr.decode()
        for asked in self.members.asked:
            out += f"---- asked {asked}\n"
        return self.plain(out + f"---- exit {done.returncode}\n")

    def terminal(self, arguments, steps, *, config=None, script=None, env=None):
        """The transcript of a terminal: steps are (text to wait for, bytes to
        send)."""
        self.reset(arguments)
        self.members.play(script)
        command = self.command(arguments, config)
        environment = self.environment({"TERM": "xterm", "NO_COLOR": "1", **(env or {})})
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(command[0], command, environment)
        out, start = b"", 0
        steps = list(steps)
        deadline = time.monotonic() + 60
        while True:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                break
            if select.select([fd], [], [], 0.05)[0]:
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    break
                if not data:
                    break
                out += data
            if steps and steps[0][0].encode() in out[start:]:
                start = len(out)
                os.write(fd, steps.pop(0)[1])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(fd)
        assert not steps, (arguments, steps, out)
        text = out.decode().replace("\r\n", "\n")
        for asked in self.members.asked:
            text += f"---- asked {asked}\n"
        return self.plain(text), code


def check(name, text):
    """Compare with the stored text, byte for byte.  GOLDEN=write stores it
    anew, to be read before it is committed."""
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_bytes(text.encode())
    want = path.read_bytes().decode()
    if text == want:
        return
    directory = pathlib.Path(tempfile.gettempdir())
    got = directory / f"golden-{os.getpid()}-{name}"
    got.write_bytes(text.encode())
    diff = subprocess.run(["diff", "-u", str(path), str(got)], capture_output=True, text=True)
    got.unlink()
    raise AssertionError(f"differs from {path.name}:\n{diff.stdout}")
