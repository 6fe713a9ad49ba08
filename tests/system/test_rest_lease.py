"""Health checks stay correct by time although nobody tells rest anything: the
lease of a primary, the age of what is known of a standby."""
import http.client
import os
import signal
import time

from cluster import Cluster, wait_for
from test_rest_table import TIMING, stopped

LEADER = ("/", "/primary", "/master", "/read-write", "/leader", "/read-only", "/readiness",
          "/read-only-sync", "/read-only-quorum")
STANDBY = ("/replica", "/read-only", "/async", "/health", "/readiness")


def codes(node, paths):
    return {path: node.status(path) for path in paths}


def held_until_its_end(old, other):
    """Old answers as the primary until its lease is over, and never with other."""
    begun = time.monotonic()
    both = 0
    while old.status("/primary") == 200:
        assert time.monotonic() < begun + TIMING["ttl"] + 2
        both += other.status("/primary") == 200 and old.status("/primary") == 200
        time.sleep(0.02)
    assert both == 0, "two primaries for load balancers"
    assert time.monotonic() - begun > TIMING["ttl"] - TIMING["loop_wait"] - 3
    # ... of all its names at once
    assert set(codes(old, LEADER).values()) == {503}


def test_lease_over_while_everything_stands_still():
    """Master and all helpers but rest hang, on the primary and on a standby."""
    with Cluster(3, dcs=TIMING) as cluster:
        old = cluster.start().wait_leader()
        other, third = (n for n in cluster.nodes if n is not old)
        wait_for("a standby that answers", lambda: set(codes(
            third, STANDBY).values()) == {200}, 20)
        pids = [node.helper(name) for node in (old, third)
                for name in ("postgres", "dcs", "watchdog")] + [old.pid, third.pid]
        with stopped(pids):
            begun = time.monotonic()
            held_until_its_end(old, other)
            wait_for("the other node to lead", other.is_leader, 30)
            assert old.status("/read-write") == 503
            # what is known of the standby holds for two ttl
            wait_for("the standby to be of no use", lambda: set(codes(
                third, STANDBY).values()) == {503}, 2 * TIMING["ttl"] + 10)
            assert time.monotonic() - begun > 2 * TIMING["ttl"] - TIMING["loop_wait"] - 3
            assert third.status("/patroni") == old.status("/patroni") == 503
            assert third.status("/liveness") == old.status("/liveness") == 503
            assert "xlog" not in third.rest("/patroni")[1]
        cluster.wait_healthy()


def test_lease_over_while_everything_is_dead():
    """The other helpers are killed while the master hangs and replaces none."""
    with Cluster(1, dcs=TIMING) as cluster:
        node = cluster.start().nodes[0]
        helpers = {name: node.helper(name) for name in ("postgres", "dcs", "watchdog")}
        with stopped([node.pid]):
            for pid in helpers.values():
                os.kill(pid, signal.SIGKILL)
            begun = time.monotonic()
            assert node.status("/primary") == 200  # its lease goes on
            wait_for("the end of the lease", lambda: set(codes(
                node, LEADER).values()) == {503}, TIMING["ttl"] + 2)
            assert time.monotonic() - begun > TIMING["ttl"] - TIMING["loop_wait"] - 3
            # requests that need others are answered, too
            for method, path in (("GET", "/cluster"), ("POST", "/restart"), ("GET", "/config")):
                body = {} if method == "POST" else None
                # what is known of the cluster may serve a little longer than the lease
                wait_for(f"503 for {path}", lambda p=path, m=method, b=body: node.rest(
                    p, m, b)[0] == 503, 2 * TIMING["ttl"])
        wait_for("new helpers, and the lock again", node.is_leader, 60)
        # the master dies, too: rest goes at once, and answers nobody
        node.signal(signal.SIGKILL)

        def gone():
            try:
                return node.status("/primary") is None
            except (OSError, http.client.HTTPException):
                return True
        wait_for("the port to be closed", gone, 10)
