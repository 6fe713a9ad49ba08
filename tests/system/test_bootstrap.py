"""A cluster comes to life: one initdb, the others clone, all agree."""
from cluster import Cluster, wait_for


def test_three_nodes_started_together():
    with Cluster(3) as cluster:
        for node in cluster.nodes:
            node.start()
        leader = cluster.wait_healthy()
        sysid, _ = cluster.etcd.get("/service/test/initialize")
        assert len(sysid) >= 10
        rows = {n.sql("select system_identifier::text from pg_control_system()")[0][0]
                for n in cluster.nodes}
        assert rows == {sysid}
        initdbs = sum(len(n.logged("initdb")) > 0 and n is leader for n in cluster.nodes)
        assert initdbs <= 1
        slots = wait_for("member slots", lambda: sorted(
            r[0] for r in leader.sql("select slot_name from pg_replication_slots where active")))
        assert slots == sorted(n.name for n in cluster.nodes if n is not leader)


def test_rows_reach_replicas(three):
    leader = three.wait_leader()
    leader.sql("create table t as select generate_series(1, 100) n")
    for node in three.replicas():
        wait_for("rows on a replica",
                 lambda node=node: node.sql("select count(*) from t")[0][0] == 100)


def test_single_node_restarts_on_its_own_data():
    with Cluster(1) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        node.sql("create table t as select 1 n")
        assert node.terminate() == 0
        assert node.postmaster() is None
        node.start()
        cluster.wait_leader()
        assert node.sql("select n from t") == [(1,)]
