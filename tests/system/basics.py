"""What everything here stands on: waiting, ports, processes."""
import contextlib
import fcntl
import http.client
import os
import pathlib
import random
import socket
import tempfile
import time

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
PG_BIN = pathlib.Path(
    os.environ.get("PG_BIN")
    or sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1])
# A sanitizer build on a busy machine is several times slower.
PATIENCE = float(os.environ.get("PATIENCE", "3" if "san" in BUILD.name else "1"))


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
