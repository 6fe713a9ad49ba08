"""Changes of the dynamic configuration reach PostgreSQL: by a reload, or as
a restart that is announced and whose announcement ends with it."""
import contextlib
import json

import psycopg2
import pytest

from cluster import Cluster, wait_for


@pytest.fixture
def pair():
    with Cluster(2) as cluster:
        cluster.start()
        yield cluster


def patch(cluster, postgresql):
    status, text = cluster.wait_leader().rest("/config", "PATCH", {"postgresql": postgresql})
    assert status == 200, text


def show(node, name):
    return node.sql(f"show {name}")[0][0]


def test_reloadable_parameter(pair):
    started = [n.sql("select pg_postmaster_start_time()") for n in pair.nodes]
    ends = [n.log_end() for n in pair.nodes]
    patch(pair, {"parameters": {"work_mem": "7MB"}})
    for node in pair.nodes:
        wait_for("work_mem", lambda node=node: show(node, "work_mem") == "7MB", 30)
    assert [n.sql("select pg_postmaster_start_time()") for n in pair.nodes] == started
    for node, end in zip(pair.nodes, ends):
        assert node.logged("Changed work_mem from '4MB' to '7MB'", end)
        assert len(node.logged("Reloading PostgreSQL configuration.", end)) == 1
        assert "pending_restart" not in node.patroni()
    patch(pair, {"parameters": {"work_mem": None}})
    for node in pair.nodes:
        wait_for("work_mem", lambda node=node: show(node, "work_mem") == "4MB", 30)


def test_parameter_that_needs_a_restart(pair):
    patch(pair, {"parameters": {"max_connections": 70, "shared_buffers": "24MB"}})
    reason = {"max_connections": {"old_value": "60", "new_value": "70"},
              "shared_buffers": {"old_value": "16MB", "new_value": "24MB"}}
    for node in pair.nodes:
        wait_for("the flag", lambda node=node: node.patroni().get("pending_restart") is True, 30)
        wait_for("its reason", lambda node=node:
                 node.patroni()["pending_restart_reason"] == reason, 10)
        assert show(node, "max_connections") == "60"

    def in_store(name):
        value, _ = pair.etcd.get(f"/service/test/members/{name}")
        return json.loads(value)
    wait_for("the flag in the store", lambda: all(
        in_store(n.name).get("pending_restart_reason") == reason for n in pair.nodes), 30)
    leader = pair.wait_leader()
    for node in sorted(pair.nodes, key=lambda n: n is leader):
        assert node.rest("/restart", "POST", {}, timeout=60)[0] == 200
        wait_for("the new value", lambda node=node: show(node, "max_connections") == "70", 30)
        wait_for("no flag", lambda node=node: "pending_restart" not in node.patroni(), 30)
        wait_for("no flag in the store", lambda node=node:
                 "pending_restart" not in in_store(node.name), 30)
    pair.wait_healthy()


def test_change_taken_back_before_the_restart(pair):
    patch(pair, {"parameters": {"max_connections": 80}})
    for node in pair.nodes:
        wait_for("the flag", lambda node=node: node.patroni().get("pending_restart"), 30)
    patch(pair, {"parameters": {"max_connections": 60}})
    for node in pair.nodes:
        wait_for("no flag", lambda node=node: "pending_restart" not in node.patroni(), 30)


def test_changed_bypassing_the_configuration(pair):
    leader = pair.wait_leader()
    leader.sql("alter system set max_files_per_process = 900")
    end = leader.log_end()
    patch(pair, {"parameters": {"work_mem": "9MB"}})
    wait_for("the reason", lambda: leader.patroni()["pending_restart_reason"] == {
        "max_files_per_process": {"old_value": "1000", "new_value": "900"}}, 30)
    assert leader.logged(
        r"requiring restart \(max_files_per_process\) seem to be changed bypassing", end)


def test_pg_hba_from_the_store(pair):
    ours = ["local all all trust", "host all postgres 127.0.0.1/32 trust",
            "host all rewinder 127.0.0.1/32 trust",
            "host replication all 127.0.0.1/32 trust",
            "host all nobody 127.0.0.1/32 reject"]
    # a local list would win
    for node in pair.nodes:
        node.write_config(extra={"postgresql": {"pg_hba": None}})
        node.signal(1)
    patch(pair, {"pg_hba": ours})
    for node in pair.nodes:
        wait_for("the file", lambda node=node: "host all nobody" in
                 (node.data / "pg_hba.conf").read_text(), 30)

        def refused(node=node):
            try:
                with contextlib.closing(psycopg2.connect(
                        host="127.0.0.1", port=node.pg_port, user="nobody", dbname="postgres")):
                    return False
            except psycopg2.Error as error:
                return "rejects connection" in str(error)
        wait_for("the rule in force", refused, 30)
    end = [n.log_end() for n in pair.nodes]
    patch(pair, {"pg_hba": ours[:-1]})
    for node, start in zip(pair.nodes, end):
        wait_for("the file", lambda node=node: "nobody" not in
                 (node.data / "pg_hba.conf").read_text(), 30)
        assert node.logged("Reloading PostgreSQL configuration.", start)
        # nothing of PostgreSQL's: nothing is written or signalled
    end = [n.log_end() for n in pair.nodes]
    leader = pair.wait_leader()
    assert leader.rest("/config", "PATCH", {"maximum_lag_on_failover": 2000000})[0] == 200
    for node, start in zip(pair.nodes, end):
        wait_for("a look at it", lambda node=node, start=start: node.logged(
            "No PostgreSQL configuration items changed", start), 30)
        assert not node.logged("Reloading PostgreSQL", start)


def test_role_overlay_follows_the_role():
    overlay = {"parameters_primary": {"work_mem": "11MB", "max_connections": "999"},
               "parameters_replica": {"work_mem": "22MB"}}
    with Cluster(2) as cluster:
        for node in cluster.nodes:
            node.write_config(extra={"postgresql": dict(overlay)})
        cluster.start()
        leader, standby = cluster.wait_leader(), cluster.replicas()[0]
        wait_for("the primary's", lambda: show(leader, "work_mem") == "11MB", 30)
        wait_for("the replica's", lambda: show(standby, "work_mem") == "22MB", 30)
        assert show(leader, "max_connections") == "60"
        assert leader.logged("Role-based config attempted to override protected parameter "
                             "'max_connections', ignoring")
        status, text = leader.rest("/switchover", "POST", {
            "leader": leader.name, "candidate": standby.name}, timeout=60)
        assert status == 200, text
        cluster.wait_healthy()
        wait_for("the primary's", lambda: show(standby, "work_mem") == "11MB", 30)
        wait_for("the replica's", lambda: show(leader, "work_mem") == "22MB", 30)


def test_address_that_waits_for_a_restart():
    """The running server is spoken to where it listens, not where it will."""
    with Cluster(1) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        old, new = node.pg_port, cluster.ports.take()
        started = node.sql("select pg_postmaster_start_time()")
        node.write_config(extra={"postgresql": {
            "listen": f"127.0.0.1:{new}", "connect_address": None}})
        start = node.log_end()
        node.signal(1)
        wait_for("the flag", lambda: "port" in node.patroni()["pending_restart_reason"], 30)

        def cycles():
            return len(node.logged("no action. I am|Lock owner", start))
        wait_for("some cycles", lambda: cycles() >= 3 or node.logged("no action", start), 60)
        assert node.is_leader() and node.patroni()["state"] == "running"
        assert node.sql("select pg_postmaster_start_time()") == started

        def url():
            return json.loads(cluster.etcd.get("/service/test/members/a")[0])["conn_url"]
        assert url().endswith(f":{old}/postgres")
        assert node.rest("/restart", "POST", {}, timeout=60)[0] == 200
        node.pg_port = new
        wait_for("the new address", lambda: node.sql("select 1"), 30)
        wait_for("its URL", lambda: url().endswith(f":{new}/postgres"), 30)
        wait_for("no flag", lambda: "pending_restart" not in node.patroni(), 30)
        cluster.wait_leader()


def test_what_is_fixed_at_the_start_stays():
    with Cluster(1) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        node.write_config(extra={"name": "other", "postgresql": {
            "data_dir": str(node.dir / "elsewhere"), "config_dir": str(node.dir / "nowhere"),
            "parameters": {"work_mem": "13MB"}}})
        node.signal(1)
        wait_for("what can change", lambda: show(node, "work_mem") == "13MB", 30)
        assert node.patroni()["patroni"]["name"] == "a"
        assert not (node.dir / "elsewhere").exists() and not (node.dir / "nowhere").exists()
        assert "work_mem = '13MB'" in (node.data / "postgresql.conf").read_text()
