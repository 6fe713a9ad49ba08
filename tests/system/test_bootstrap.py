"""A cluster comes to life: one initdb, the others clone, all agree."""
import json
import os
import subprocess

from cluster import BUILD, Cluster, wait_for


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


def test_progress_of_a_copy():
    """In /patroni, in the store, in `patronictl list` and in the log."""
    with Cluster(2, extra={"postgresql": {"basebackup": [
            {"checkpoint": "fast"}, {"max-rate": "3M"}]}}) as cluster:
        a, b = cluster.nodes
        a.start()
        wait_for("a leader", a.is_leader, 60)
        b.start()

        def figures():
            return b.patroni()["progress"]
        first = wait_for("progress", figures, 60)
        assert b.patroni()["state"] == "creating replica"
        later = wait_for("more of it", lambda: (
            lambda p: p if p["received"] > first["received"] else None)(figures()), 30)
        assert 0 <= first["percent"] <= later["percent"] <= 100
        assert later["percent"] == later["received"] * 100 // later["total"]

        def stored():
            return json.loads(cluster.etcd.get("/service/test/members/b")[0])["progress"]["percent"]
        wait_for("progress in the store", lambda: stored() > 0, 30)
        config = cluster.dir / "ctl.yml"
        config.write_text(json.dumps({"scope": "test", "etcd3": {
            "hosts": [f"127.0.0.1:{cluster.etcd.client}"]}}))

        def listed(*options):
            return subprocess.run(
                [BUILD / "patronictl", "-c", config, "list", *options], check=True, text=True,
                capture_output=True, env=dict(os.environ, HOME="/tmp")).stdout
        assert "creating replica (" in listed() and "%)" in listed()
        states = {m["Member"]: m["State"] for m in json.loads(listed("-f", "json"))}
        assert states["b"] == "creating replica"
        cluster.wait_healthy()
        assert "progress" not in b.patroni()
        wait_for("nothing in the store", lambda: "progress" not in json.loads(
            cluster.etcd.get("/service/test/members/b")[0]), 30)
        lines = b.logged(r"pg_basebackup has received \d+ of about \d+ MB \((\d+)%\)")
        assert 1 <= len(lines) <= 15 and sorted(map(int, lines)) == list(map(int, lines))
        # an error message is none of its progress
        assert not b.logged("Error when fetching backup")
