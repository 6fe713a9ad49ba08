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
