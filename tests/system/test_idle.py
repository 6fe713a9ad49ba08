"""What a cluster in which nothing happens asks of its store (design 6)."""
import pathlib
import re

import pytest

from cluster import Cluster, wait_for


def requests(cluster):
    """{kind: how many etcd has begun to serve}"""
    return {method: float(count) for method, count in re.findall(
        r'^grpc_server_started_total\{grpc_method="(\w+)"[^}]*\} (\S+)',
        cluster.etcd.metrics(), re.M)}


def loops(cluster):
    """HA loops of all nodes together."""
    found = [re.search(r"^patroni_manager_loops_total\{[^}]*\} (\S+)",
                       node.rest("/metrics")[1], re.M) for node in cluster.nodes]
    return sum(float(match.group(1)) for match in found)


def test_requests_of_an_idle_cluster():
    """One lease renewal per node and loop, and nothing else."""
    with Cluster(2, dcs={"loop_wait": 1}) as cluster:
        if not hasattr(cluster.etcd, "metrics"):
            pytest.skip("the store does not count its requests")
        cluster.start()
        quiet = {}

        def only_renewals():
            before, begun = requests(cluster), loops(cluster)
            wait_for("ten loops of each node", lambda: loops(cluster) >= begun + 20)
            now = requests(cluster)
            quiet["loops"] = loops(cluster) - begun
            quiet["kinds"] = {kind: count - before.get(kind, 0) for kind, count in now.items()
                              if count != before.get(kind, 0)}
            return set(quiet["kinds"]) == {"LeaseKeepAlive"}

        # what the start has left to write (history, slots, optime) comes first
        wait_for("a cluster that only renews", only_renewals, 90)
        # a node may have renewed without its loop being counted yet
        assert quiet["kinds"]["LeaseKeepAlive"] <= quiet["loops"] + len(cluster.nodes), quiet
        # what saves memory in the helpers is not for the programs that they run
        for node in cluster.nodes:
            environment = pathlib.Path(f"/proc/{node.postmaster()}/environ").read_bytes()
            assert b"GNUTLS" not in environment
