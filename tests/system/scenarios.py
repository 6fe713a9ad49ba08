"""What every store has to carry, on a whole cluster.

A module test_on_<store>.py names its STORE and imports these; they run in
this order on one cluster (etcd v3 is what all other tests run on).
"""
import json
import signal
import time

import pytest

from cluster import BUILD, Cluster, kill, wait_for
from ledger import Ledger


@pytest.fixture(scope="module")
def cluster(request):
    with Cluster(2, dcs={"ttl": 20, "loop_wait": 3, "retry_timeout": 4, "synchronous_mode": True},
                 store=request.module.STORE) as made:
        made.start()
        wait_synchronous(made)
        yield made


def wait_synchronous(cluster):
    """The other node is the synchronous standby: it may take over."""
    def listed():
        leader = cluster.wait_leader()
        members = json.loads(leader.rest("/cluster")[1])["members"]
        return any(m["role"] == "sync_standby" for m in members)
    wait_for("a synchronous standby", listed, 60)


def test_switchover(cluster):
    old = cluster.wait_leader()
    new = next(n for n in cluster.nodes if n is not old)
    with Ledger(cluster) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)
        status, text = old.rest("/switchover", "POST",
                                {"leader": old.name, "candidate": new.name}, timeout=60)
        assert status == 200, text
        assert cluster.wait_leader(other_than=old) is new
        cluster.wait_healthy()
        ledger.stop()
        assert ledger.lost(new) == []
    # the request has been cleared
    wait_for("no request", lambda: "scheduled_switchover" not in
             json.loads(new.rest("/cluster")[1]), 20)


def test_store_client_killed(cluster):
    """The successor of a killed dcs helper keeps the lock."""
    wait_synchronous(cluster)
    leader = cluster.wait_leader()
    before = cluster.leader_key()
    postmaster = leader.postmaster()
    for _ in range(3):
        pid = leader.helper("dcs")
        kill(pid, signal.SIGKILL)
        wait_for("another helper", lambda p=pid: leader.helpers().get("dcs") not in (None, p), 30)
        time.sleep(2)  # in mid-loop, not at the same point of each
    end = time.monotonic() + 22  # longer than the ttl
    while time.monotonic() < end:
        assert cluster.leader_key()[0] == before[0]
        assert leader.postmaster() == postmaster
        time.sleep(0.5)
    if cluster.etcd.keeps_entry:
        assert cluster.leader_key() == before
    assert leader.is_leader() and leader.writable()


def test_store_away(cluster):
    """The store hangs for a while that retries bridge: nothing happens."""
    leader = cluster.wait_leader()
    postmaster = leader.postmaster()
    cluster.etcd.signal(signal.SIGSTOP)
    try:
        time.sleep(1.5)
    finally:
        cluster.etcd.signal(signal.SIGCONT)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        assert leader.writable() and leader.postmaster() == postmaster
        time.sleep(0.2)
    assert cluster.leader() is leader


def test_control_tool(cluster):
    """patronictl reads and writes the same store."""
    import subprocess
    leader = cluster.wait_leader()
    tool = [str(BUILD / "patronictl"), "-c", str(leader.config)]
    done = subprocess.run([*tool, "list", "-f", "json"], capture_output=True, text=True,
                          timeout=60, check=True)
    rows = json.loads(done.stdout)
    assert {r["Member"] for r in rows} == {"a", "b"}
    assert next(r for r in rows if r["Role"] == "Leader")["Member"] == leader.name
    subprocess.run([*tool, "edit-config", "--force", "-s", "maximum_lag_on_failover=2097152"],
                   capture_output=True, text=True, timeout=60, check=True)
    wait_for("the configuration", lambda: json.loads(
        leader.rest("/config")[1])["maximum_lag_on_failover"] == 2097152, 20)


def test_fence(cluster):
    """A hanging controller: its primary is stopped before another one promotes."""
    wait_synchronous(cluster)
    old = cluster.wait_leader()
    new = next(n for n in cluster.nodes if n is not old)
    marks = {n: n.log_end() for n in cluster.nodes}
    pid = old.helper("postgres")
    kill(pid, signal.SIGSTOP)
    try:
        cluster.wait_leader(other_than=old)
        fenced = wait_for("the fence in the log", lambda: old.logged(
            r"fence: .* at (\d+\.\d+)", marks[old]))
        promoted = wait_for("the promotion in the log", lambda: new.logged(
            r"promotion .* at (\d+\.\d+)", marks[new]))
        assert float(fenced[0]) < float(promoted[0])
        assert old.postmaster() is None
    finally:
        kill(pid, signal.SIGCONT)
    cluster.wait_healthy()


def test_failover(cluster):
    """A node dies as a whole."""
    wait_synchronous(cluster)
    old = cluster.wait_leader()
    with Ledger(cluster) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)
        at = time.monotonic()
        old.kill_tree()
        new = cluster.wait_leader(other_than=old)
        print(f"\nnode loss on {cluster.etcd.section}: writable again after "
              f"{time.monotonic() - at:.1f} s")
        old.start()
        cluster.wait_healthy()
        ledger.stop()
        assert ledger.lost(new) == []
