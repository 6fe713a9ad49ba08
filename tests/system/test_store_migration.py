"""A cluster moves from etcd v2 to etcd v3, as the README describes it:
in pause, without a restart of PostgreSQL and without a lost commit."""
import json
import os
import subprocess

import pytest

import stores
from cluster import BUILD, Cluster, wait_for
from ledger import Ledger

pytestmark = pytest.mark.skipif(not os.environ.get("LONG"), reason="a minute: LONG=1")


def tool(node, *arguments):
    return subprocess.run([str(BUILD / "patronictl"), "-c", str(node.config), *arguments],
                          capture_output=True, text=True, timeout=120, check=True).stdout


def test_v2_to_v3():
    with Cluster(3, store="etcd", dcs={"ttl": 20, "loop_wait": 3, "retry_timeout": 4}) as cluster:
        cluster.start()
        tool(cluster.nodes[0], "edit-config", "--force", "-s", "maximum_lag_on_failover=3145728")
        leader = cluster.wait_leader()
        others = [n for n in cluster.nodes if n is not leader]
        postmasters = {n: n.postmaster() for n in cluster.nodes}
        identifier = cluster.etcd.get("/service/test/initialize")[0]
        with Ledger(cluster) as ledger:
            tool(leader, "pause", "--wait")
            for node in others + [leader]:
                assert node.terminate() == 0
                assert node.postmaster() == postmasters[node]
            # the same servers speak v3, too; the keys of v2 are unseen there
            old = cluster.etcd
            new = stores.Etcd3(cluster.dir, cluster.ports)
            new.client, new.process = old.client, old.process
            cluster.etcd = new
            assert new.get("/service/test/leader") == (None, None)
            for node in cluster.nodes:
                node.write_config()
            # first the one with the primary: it makes the new keys
            leader.start()
            wait_for("the lock in the new store",
                     lambda: new.get("/service/test/leader")[0] == leader.name, 60)
            for node in others:
                node.start()
            cluster.wait_healthy()
            assert {n: n.postmaster() for n in cluster.nodes} == postmasters
            assert new.get("/service/test/initialize")[0] == identifier
            config = json.loads(new.get("/service/test/config")[0])
            assert config["maximum_lag_on_failover"] == 3145728
            assert config["pause"] is True
            tool(leader, "resume", "--wait")
            assert cluster.leader() is leader
            count = len(ledger.acknowledged)
            wait_for("further rows", lambda: len(ledger.acknowledged) > count + 50, 30)
            ledger.stop()
            # not one commit failed in all that time
            assert ledger.errors == 0 and ledger.lost(leader) == []
        assert {n: n.postmaster() for n in cluster.nodes} == postmasters
        # and the new store carries the cluster: the primary's node dies
        leader.kill_tree()
        cluster.wait_leader(other_than=leader)
        leader.start()
        cluster.wait_healthy()
        assert old.get("/service/test/config")[0] is not None
