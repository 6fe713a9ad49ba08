"""The death of any helper, or a stop of the master, touches nothing."""
import os
import random
import signal
import subprocess
import threading

import pytest

from cluster import PG_BIN, Cluster, alive, kill, wait_for

KILLS = int(os.environ.get("KILLS", "5"))


class Pgbench:
    """pgbench on one node; fails the test when a transaction fails."""

    def __init__(self, node):
        self.node = node
        self.base = [str(PG_BIN / "pgbench"), "-h", "127.0.0.1", "-p", str(node.pg_port),
                     "-U", "postgres"]
        subprocess.run(self.base + ["-i", "-q", "-s", "1", "postgres"], check=True,
                       capture_output=True)
        self.process = subprocess.Popen(
            self.base + ["-c", "2", "-T", "600", "-n", "-P", "1", "postgres"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.thread = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self.thread.start()

    def running(self):
        assert self.process.poll() is None, "".join(self.lines[-5:])
        return True

    def close(self):
        kill(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.thread.join()


@pytest.fixture
def loaded():
    """A cluster with pgbench on its leader."""
    with Cluster(3) as cluster:
        leader = cluster.start().wait_leader()
        load = Pgbench(leader)
        try:
            yield cluster, leader, load
        finally:
            load.close()
    assert not any("FATAL" in line or "aborted" in line for line in load.lines)


def assert_untouched(cluster, leader, before, load):
    assert load.running()
    assert leader.postmaster() == before["postmaster"]
    assert cluster.leader_key() == before["key"]
    assert leader.sql("select timeline_id from pg_control_checkpoint()") == before["timeline"]


def facts(cluster, leader):
    return {"postmaster": leader.postmaster(), "key": cluster.leader_key(),
            "timeline": leader.sql("select timeline_id from pg_control_checkpoint()")}


@pytest.mark.parametrize("name", ["dcs", "rest", "postgres", "watchdog"])
def test_helper_killed_under_load(loaded, name):
    cluster, leader, load = loaded
    before = facts(cluster, leader)
    moments = random.Random(name)
    for _ in range(KILLS):
        pid = leader.helper(name)
        threading.Event().wait(moments.uniform(0, 1.5))  # a random moment of the loop
        kill(pid, signal.SIGKILL)
        wait_for("its successor", lambda pid=pid: leader.helpers().get(name) not in (None, pid))
        wait_for("the leader's answer", lambda: leader.status("/primary") == 200)
        assert_untouched(cluster, leader, before, load)
    cycles = leader.log_end()
    wait_for("two more cycles", lambda: len(leader.logged(
        r"no action\. I am \(\w+\), the leader with the lock", cycles)) >= 2, 60)
    assert_untouched(cluster, leader, before, load)
    assert f'process="{name}"}} {KILLS}\n' in leader.rest("/metrics")[1]
    assert cluster.wait_healthy() is leader


def test_master_killed_and_restarted(loaded):
    cluster, leader, load = loaded
    before = facts(cluster, leader)
    helpers = leader.helpers()
    kill(leader.pid, signal.SIGKILL)
    leader.process.wait()
    for name in ("dcs", "rest", "postgres"):
        wait_for(f"{name} to leave", lambda name=name: not alive(helpers[name]), 10)
    leader.start()  # as the init system does
    wait_for("the leader's answer", lambda: leader.status("/primary") == 200)
    wait_for("the old keeper to leave", lambda: not alive(helpers["watchdog"]), 60)
    cycles = leader.log_end()
    wait_for("two more cycles", lambda: len(leader.logged(
        r"no action\. I am \(\w+\), the leader with the lock", cycles)) >= 2, 60)
    assert_untouched(cluster, leader, before, load)


def test_master_stopped(loaded):
    cluster, leader, load = loaded
    seconds = float(os.environ.get("MASTER_STOP", "30"))
    before = facts(cluster, leader)
    kill(leader.pid, signal.SIGSTOP)
    try:
        threading.Event().wait(seconds)  # longer than ttl
        assert_untouched(cluster, leader, before, load)
    finally:
        kill(leader.pid, signal.SIGCONT)
    assert cluster.wait_healthy() is leader
    assert_untouched(cluster, leader, before, load)
