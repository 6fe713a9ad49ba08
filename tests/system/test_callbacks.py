"""Every callback runs exactly once per event, with the right arguments; a
newer one ends one that still runs; hooks are waited for."""
import json
import signal

import pytest

from cluster import Cluster, alive, kill, wait_for

NAMES = ("on_start", "on_stop", "on_restart", "on_reload", "on_role_change")
FAST = {"basebackup": [{"checkpoint": "fast"}]}


class Recorder:
    """A cluster whose callbacks write down what they are called with."""

    def __init__(self, nodes=2):
        self.cluster = Cluster(nodes, extra={"postgresql": FAST})
        for node in self.cluster.nodes:
            script = node.dir / "callback"
            script.write_text(f"#!/bin/sh\necho \"$@\" >> {node.dir}/events\n")
            script.chmod(0o755)
            node.write_config(extra={"postgresql": dict(
                FAST, callbacks={n: f"{script} 'fixed word'" for n in NAMES})})

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, *arguments):
        self.cluster.__exit__(*arguments)

    def events(self, node):
        try:
            text = (node.dir / "events").read_text()
        except FileNotFoundError:
            return []
        words = [line.split(" ") for line in text.splitlines()]
        assert all(w[:2] == ["fixed", "word"] and w[4:] == ["test"] for w in words), words
        return [" ".join(w[2:4]) for w in words]

    def forget(self):
        for node in self.cluster.nodes:
            (node.dir / "events").unlink(missing_ok=True)

    def expect(self, node, *wanted, ignore=("on_reload",)):
        """These and no others; one more cycle shows that no more come."""
        def got():
            return [e for e in self.events(node) if e.split()[0] not in ignore]
        wait_for(f"{wanted} on {node.name}; log {node.name}: {got()}",
                 lambda: len(got()) >= len(wanted) and got(), 30)
        end = node.log_end()
        if node.process.poll() is None:
            wait_for("another cycle", lambda: node.logged("no action. I am", end), 30)
        assert got() == list(wanted)


def test_each_event_once():
    with Recorder() as r:
        cluster = r.cluster.start()
        a, b = cluster.nodes
        r.expect(a, "on_start primary")
        r.expect(b, "on_start replica")
        r.forget()
        # reload
        assert a.rest("/config", "PATCH", {"postgresql": {"parameters": {
            "work_mem": "6MB"}}})[0] == 200
        for node in (a, b):
            wait_for("the reload", lambda node=node: node.sql("show work_mem")[0][0] == "6MB", 30)
        r.expect(a, "on_reload primary", ignore=())
        r.expect(b, "on_reload replica", ignore=())
        r.forget()
        # restart
        assert b.rest("/restart", "POST", {}, timeout=60)[0] == 200
        r.expect(b, "on_restart replica")
        assert a.rest("/restart", "POST", {}, timeout=60)[0] == 200
        r.expect(a, "on_restart primary")
        cluster.wait_healthy()
        r.forget()
        # switchover
        status, text = a.rest("/switchover", "POST", {"leader": "a", "candidate": "b"}, timeout=60)
        assert status == 200, text
        cluster.wait_healthy()
        r.expect(b, "on_role_change primary")
        wait_for("both", lambda: len(r.events(a)) >= 2, 30)
        stop, change = [e for e in r.events(a) if not e.startswith("on_reload")]
        assert stop in ("on_stop primary", "on_stop demoted")
        assert change == "on_role_change replica"
        r.forget()
        # crash of the postmaster, of a replica
        kill(a.postmaster(), signal.SIGKILL)
        wait_for("a new postmaster", lambda: a.postmaster() and a.streams(), 60)
        r.expect(a, "on_start replica")
        r.forget()
        # the death of the controller is no event of PostgreSQL's
        kill(b.helper("postgres"), signal.SIGKILL)
        end = b.log_end()
        wait_for("the next cycle", lambda: b.logged("I am \\(b\\), the leader with the lock", end))
        assert [e for e in r.events(b) if e.split()[0] not in ("on_reload", "on_start")] == []
        # stop and start of the daemon, which is gone before its callback ends
        r.forget()
        script = a.dir / "callback"
        quick = script.read_text()
        script.write_text(quick.replace("echo", "sleep 2; echo", 1))
        assert a.terminate() == 0
        assert r.events(a) == []
        r.expect(a, "on_stop replica")
        script.write_text(quick)
        r.forget()
        a.start()
        cluster.wait_healthy()
        r.expect(a, "on_start replica")


def test_a_newer_callback_ends_the_running_one():
    with Recorder(1) as r:
        node = r.cluster.nodes[0]
        (node.dir / "callback").write_text(
            f"#!/bin/sh\necho \"$@\" >> {node.dir}/events\n"
            f"echo $$ >> {node.dir}/pids\nsleep 100 &\necho $! >> {node.dir}/pids\nwait\n")
        r.cluster.start()
        pids = wait_for("a callback that hangs", lambda: (lambda v: v if len(v) == 2 else None)(
            [int(x) for x in (node.dir / "pids").read_text().split()]), 30)
        assert all(alive(p) for p in pids)
        end = node.log_end()
        assert node.rest("/restart", "POST", {}, timeout=60)[0] == 200
        wait_for("the second", lambda: len((node.dir / "pids").read_text().split()) == 4, 30)
        wait_for("the end of the first", lambda: not any(alive(p) for p in pids), 10)
        assert node.logged("Killed .* because it was still running", end)
        assert node.writable()


def test_hooks_are_waited_for():
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        script = node.dir / "hook"
        script.write_text(
            f"#!/bin/sh\nsleep 1\n{node.dir}/writable >/dev/null 2>&1\n"
            f"echo \"stopping $#\" >> {node.dir}/events\nexit 3\n")
        script.chmod(0o755)
        node.write_config(extra={"postgresql": {"before_stop": str(script)}})
        cluster.start()
        start = node.log_end()
        assert node.rest("/restart", "POST", {}, timeout=60)[0] == 200
        assert (node.dir / "events").read_text() == "stopping 0\n"
        assert node.logged("before_stop script `.*` exited with 3", start)
