"""The answers of a primary follow its lease although nobody tells rest."""
import time

from cluster import Cluster, wait_for
from test_rest_table import TIMING, stopped


def test_lease_over_while_helpers_stand_still():
    """The answer follows the lease although nobody tells rest anything."""
    with Cluster(2, dcs=TIMING) as cluster:
        old = cluster.start().wait_leader()
        other = next(n for n in cluster.nodes if n is not old)
        pids = [old.helper("postgres"), old.helper("dcs")]
        with stopped(pids):
            begun = time.monotonic()
            both = 0
            while old.status("/primary") == 200:
                assert time.monotonic() < begun + TIMING["ttl"] + 2
                both += other.status("/primary") == 200 and old.status("/primary") == 200
                time.sleep(0.02)
            lasted = time.monotonic() - begun
            assert both == 0, "two primaries for load balancers"
            assert lasted > TIMING["ttl"] - TIMING["loop_wait"] - 3
            wait_for("the other node to lead", other.is_leader, 30)
            assert old.status("/read-write") == 503
        cluster.wait_healthy()
