"""Health checks stay correct by time although nobody tells rest anything: the
lease of a primary, the age of what is known of a standby."""
import http.client
import os
import signal
import time

from cluster import Cluster, wait_for
from test_rest_table import PATHS, TIMING, no_store, server_process, stopped

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


def good(node):
    """The letters of test_rest_table that answer 200, twice the same."""
    before = None
    while True:
        now = {letter for letter, paths in PATHS.items()
               if {node.status(path) for path in paths} == {200}}
        if now == before:
            return now
        before = now


def test_store_down_before_the_demotion():
    """The leader answers as one until its demotion is done or its lease over,
    whichever comes first: here PostgreSQL takes long to stop.  What is known
    of the cluster is no older than the lease, and ends with it."""
    with Cluster(1, dcs=TIMING) as cluster:
        node = cluster.start().wait_leader()
        as_leader = {"p", "l", "ro", "ros", "roq", "ready"}
        begun, start = time.monotonic(), node.log_end()
        with stopped([server_process(node, "checkpointer")]), no_store(cluster):
            wait_for("the demotion to begin", lambda: node.logged(
                "demoting self because DCS is not accessible", start), 20)
            assert good(node) == as_leader | {"h", "live"}
            wait_for("the end", lambda: not good(node) & as_leader, TIMING["ttl"] + 2)
            took = time.monotonic() - begun
            assert TIMING["ttl"] - TIMING["loop_wait"] - 3 < took < TIMING["ttl"] + 2
            assert good(node) <= {"h", "live"}
        cluster.wait_leader()


def test_lease_of_a_standby_leader():
    """With the store down it answers as the standby leader until its lease is
    over, and streams on."""
    with Cluster(1) as main:
        primary = main.start().wait_leader()
        remote = {"host": "127.0.0.1", "port": primary.pg_port}
        with Cluster(1, dcs=dict(TIMING, standby_cluster=remote)) as copy:
            leader = copy.nodes[0].start()
            wait_for("the standby leader", lambda: leader.status("/standby-leader") == 200, 90)
            with no_store(copy):
                begun = time.monotonic()
                wait_for("the end of the lease", lambda: leader.status(
                    "/standby-leader") == 503, TIMING["ttl"] + 5)
                assert time.monotonic() - begun > TIMING["ttl"] - TIMING["loop_wait"] - 3
                assert good(leader) - {"live"} == {"h", "ready"}
                primary.sql("create table later as select 1 as n")
                wait_for("the row", lambda: leader.sql(
                    "select count(*) from pg_class where relname = 'later'") == [(1,)], 30)
            wait_for("the standby leader again", lambda: leader.status(
                "/standby-leader") == 200, 60)
