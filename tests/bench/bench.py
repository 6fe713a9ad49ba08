"""Measure a three-node cluster on loopback, beside Python Patroni when the
distribution's package is installed, in one run, and print one table.

Usage: bench.py BUILD-DIRECTORY [--only ours|python] [--repeat N] [--idle SECONDS]

Configuration: ttl 20, loop_wait 5, retry_timeout 5.  What each figure is stands
in FIGURES below and is printed under the table.  A figure that could not be
taken is printed as a dash, with the reason, and the exit status is 1.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
parser = argparse.ArgumentParser()
parser.add_argument("build")
parser.add_argument("--only", choices=("ours", "python"))
parser.add_argument("--repeat", type=int, default=3)
parser.add_argument("--idle", type=float, default=60)
options = parser.parse_args()
os.environ["BUILD"] = str(pathlib.Path(options.build).resolve())

import psycopg2  # noqa: E402

from cluster import (BUILD, PG_BIN, Cluster, Node, children,  # noqa: E402
                     cmdline, kill, wait_for)

PYTHON = shutil.which("patroni")

# name in the table: what it is
FIGURES = {
    "start of three nodes, s":
        "from the start of the first node until all three are healthy, initdb and two "
        "basebackups included",
    "/health, requests/s":
        "answers with status 200 of the leader, 8 connections, 5 s; kept alive where the server "
        "does that, else a connection each",
    "/health, p99 ms": "99th percentile of these, from the request (or the connect) on",
    "/primary, requests/s": "the same for /primary",
    "/primary, p99 ms": "the same for /primary",
    "etcd requests/s, idle cluster":
        "requests of all three nodes that etcd began to serve, by its own count",
    "CPU per node, ms/s idle":
        "user and system time of all manager processes of a node (without PostgreSQL), mean of "
        "the nodes",
    "PSS per node, MB":
        "proportional set size of all manager processes of a node, mean of the nodes",
    "postmaster killed, s":
        "kill -9 of the leader's postmaster, primary_start_timeout 0: longest pause between two "
        "acknowledged inserts of a client that reconnects at once; median (least-most)",
    "switchover by SIGTERM, s": "SIGTERM to the leader's manager: the same pause",
    "node lost, s": "kill -9 of the leader's manager and PostgreSQL at once: the same pause",
}
LIMIT = ("limit: bare PostgreSQL without a manager, pg_ctl stop -m fast and pg_promote of a "
         "streaming standby (switchover), pg_promote alone (postmaster)")
problems = []


def attempt(result, key, take, *arguments):
    """result[key] = take(...); a figure that cannot be had is a problem, not the end."""
    try:
        result[key] = take(*arguments)
    except Exception as error:  # whatever it is, the others are to be taken
        problems.append(f"{key}: {type(error).__name__}: {error}")
        result[key] = None


class PythonNode(Node):
    """The same node under Python Patroni."""

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, str(self.config)], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self.dir, start_new_session=True)
        return self

    def helpers(self):
        return {}

    def streams(self):
        """Older versions do not tell the state of replication; that the
        primary has the walsender is checked beside this."""
        document = self.patroni()
        return document["state"] == "running" and document["role"] == "replica"


def manager_pids(node):
    """The master and its helpers, or Python's process tree, without PostgreSQL."""
    postmaster = node.postmaster()
    postgres = set(children(postmaster)) if postmaster else set()
    return [p for p in children(node.pid)
            if p not in postgres and "postgres:" not in cmdline(p)[:10]]


def pss_kb(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))


def cpu_ns(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    # children that were waited for are in clock ticks only
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()
    total += (int(fields[13]) + int(fields[14])) * 10_000_000
    return total


def etcd_requests(cluster):
    return sum(float(v) for v in re.findall(
        r"^grpc_server_started_total\{[^}]*\} (\S+)", cluster.etcd.metrics(), re.M))


class Writer:
    """Inserts as fast as it is told to; remembers when commits returned."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.times = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        cluster.wait_leader().sql("create table if not exists w (t float)")
        self.thread.start()

    def run(self):
        hosts = ",".join("127.0.0.1" for _ in self.cluster.nodes)
        ports = ",".join(str(n.pg_port) for n in self.cluster.nodes)
        connection = None
        while not self.done.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(
                        host=hosts, port=ports, user="postgres", dbname="postgres",
                        target_session_attrs="read-write", connect_timeout=2)
                    connection.autocommit = True
                    cursor = connection.cursor()
                cursor.execute("insert into w values (1)")
                self.times.append(time.monotonic())
            except psycopg2.Error:
                if connection is not None:
                    connection.close()
                connection = None
            self.done.wait(0.002)

    def pause_since(self, start):
        """Longest gap between acknowledged inserts since a moment."""
        times = [t for t in list(self.times) if t >= start - 1]
        return max((b - a for a, b in zip(times, times[1:])), default=None)

    def close(self):
        self.done.set()
        self.thread.join(30)


def settle(cluster, writer):
    cluster.wait_healthy()
    count = len(writer.times)
    wait_for("the writer", lambda: len(writer.times) > count + 100)


def measure_pause(cluster, act):
    """Seconds without a writable primary around act(leader)."""
    writer = Writer(cluster)
    try:
        settle(cluster, writer)
        old = cluster.wait_leader()
        start = time.monotonic()
        act(old)
        cluster.wait_leader(other_than=old, timeout=120)
        count = len(writer.times)
        wait_for("rows on the new primary", lambda: len(writer.times) > count + 50)
        pause = writer.pause_since(start)
        if old.process.poll() is not None:
            old.start()
        settle(cluster, writer)
        return pause
    finally:
        writer.close()


def terminate(node):
    node.signal(signal.SIGTERM)
    threading.Thread(target=node.process.wait, daemon=True).start()


def load(name, port, path):
    """(requests/s, p99 ms) with 8 connections, kept alive where served."""
    # Python's server closes every connection; its listen queue has five places
    how = ["close"] if name == "python" else []
    out = subprocess.run(
        [str(BUILD / "http_load"), "127.0.0.1", str(port), path, "8", "5", *how],
        capture_output=True, text=True, timeout=60, check=True).stdout.split()
    rate, _, p99, _, answered, refused, late, broken = (float(word) for word in out)
    print(f"{name} {path}: {answered:.0f} answered, {refused:.0f} refused, {late:.0f} late, "
          f"{broken:.0f} broken", file=sys.stderr, flush=True)
    if refused + late > answered / 100:
        raise RuntimeError(f"{refused:.0f} refused and {late:.0f} late of {answered:.0f}")
    return rate, p99 / 1000


def measure_idle(cluster, result):
    """Nothing happens for a while; what the start has left to write comes before."""
    time.sleep(30)
    pids = {n: manager_pids(n) for n in cluster.nodes}
    cpu = {n: sum(cpu_ns(p) for p in pids[n]) for n in cluster.nodes}
    requests = etcd_requests(cluster)
    start = time.monotonic()
    time.sleep(options.idle)
    elapsed = time.monotonic() - start
    result["etcd requests/s, idle cluster"] = (etcd_requests(cluster) - requests) / elapsed
    result["CPU per node, ms/s idle"] = statistics.mean(
        (sum(cpu_ns(p) for p in pids[n]) - cpu[n]) / 1e6 / elapsed for n in cluster.nodes)
    result["PSS per node, MB"] = statistics.mean(
        sum(pss_kb(p) for p in pids[n]) / 1024 for n in cluster.nodes)


def measure_pauses(cluster, act):
    """One kind, as often as asked for."""
    pauses = [measure_pause(cluster, act) for _ in range(options.repeat)]
    if None in pauses:
        raise RuntimeError("no pause was seen")
    return pauses


def measure(name):
    cluster = Cluster(3, dcs={"primary_start_timeout": 0, "master_start_timeout": 0})
    if name == "python":
        for node in cluster.nodes:
            node.__class__ = PythonNode
    result = {}
    with cluster:
        began = time.monotonic()
        cluster.start()
        result["start of three nodes, s"] = time.monotonic() - began
        attempt(result, "idle cluster", measure_idle, cluster, result)
        del result["idle cluster"]  # it sets three figures
        leader = cluster.wait_leader()
        for path in ("/health", "/primary"):
            attempt(result, path, load, name, leader.rest_port, path)
            rate, p99 = result.pop(path) or (None, None)
            result[f"{path}, requests/s"] = rate
            result[f"{path}, p99 ms"] = p99
        for text, act in (
                ("postmaster killed, s", lambda n: kill(n.postmaster(), signal.SIGKILL)),
                ("switchover by SIGTERM, s", terminate),
                ("node lost, s", lambda n: n.kill_tree())):
            attempt(result, text, measure_pauses, cluster, act)
    print(name, result, file=sys.stderr, flush=True)
    return result


def limit():
    """Bare PostgreSQL: fast stop plus promotion of a standby that streams."""
    with Cluster(2) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        standby = next(n for n in cluster.nodes if n is not leader)
        for node in cluster.nodes:  # leave PostgreSQL alone
            postmaster = node.postmaster()
            for pid in children(node.pid):
                if pid not in children(postmaster):
                    kill(pid, signal.SIGSTOP)
            for pid in children(node.pid):
                if pid not in children(postmaster):
                    kill(pid, signal.SIGKILL)
            node.process.wait()
        start = time.monotonic()
        subprocess.run([str(PG_BIN / "pg_ctl"), "stop", "-D", str(leader.data), "-m", "fast"],
                       check=True, capture_output=True)
        stopped = time.monotonic()
        standby.sql("select pg_promote(true, 30)")
        promoted = time.monotonic()
        kill(standby.postmaster(), signal.SIGQUIT)
        wait_for("the end", lambda: not standby.postmaster())
        return {"switchover by SIGTERM, s": promoted - start,
                "postmaster killed, s": promoted - stopped}


def show(value):
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{statistics.median(value):.2f} ({min(value):.2f}-{max(value):.2f})"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def middle(value):
    return statistics.median(value) if isinstance(value, list) else value


def whole(name, take, *arguments):
    """One side; {} when not even its cluster could be had."""
    try:
        return take(*arguments)
    except Exception as error:  # the other side is measured all the same
        problems.append(f"{name}: {type(error).__name__}: {error}")
        return {}


def main():
    want_ours, want_python = options.only != "python", PYTHON and options.only != "ours"
    ours = whole("this", measure, "ours") if want_ours else {}
    theirs = whole("Python Patroni", measure, "python") if want_python else {}
    bare = whole("limit", limit) if options.only is None else {}
    print(f"{'':34}{'this':>22}{'Python Patroni':>22}{'ratio':>9}{'limit':>9}")
    for key in FIGURES:
        a, b = ours.get(key), theirs.get(key)
        ratio = f"{middle(a) / middle(b):.3f}" if a is not None and b else ""
        print(f"{key:34}{show(a) if want_ours else '':>22}{show(b) if want_python else '':>22}"
              f"{ratio:>9}{show(bare[key]) if key in bare else '':>9}")
    print("\nratio: this / Python Patroni")
    for key, text in FIGURES.items():
        print(f"{key}: {text}")
    print(LIMIT)
    if not PYTHON and options.only != "ours":
        print("Python Patroni is not installed: apt-get install patroni")
    for problem in problems:
        print(f"NOT TAKEN: {problem}")
    return 1 if problems else 0


sys.exit(main())
