"""The `log` section on a running daemon, as it is read from a machine."""
import json
import re
import signal
import subprocess

from cluster import Cluster, wait_for


def records(node, start):
    """PostgreSQL writes into the same file, and the last line may be half there."""
    return [json.loads(line) for line in node.logged(r"(?m)^(\{.*\})\n", start)]


def test_json_with_fields_and_components():
    """Fields, static fields and levels of components, also by a reload."""
    log = {"type": "json", "level": "WARNING", "dateformat": "%Y",
           "format": ["asctime", {"levelname": "severity"}, "name", "message"],
           "static_fields": {"rack": "r1"}, "loggers": {"patroni.dcs": "DEBUG"},
           "traceback_level": "DEBUG", "max_queue_size": 10}
    with Cluster(1, extra={"log": log, "restapi": {"request_queue_size": 300}}) as cluster:
        node = cluster.start().wait_leader()
        wait_for("words of the dcs helper", lambda: [
            r for r in records(node, 0) if r["severity"] == "DEBUG"], 20)
        for record in records(node, 0):
            assert set(record) == {"asctime", "severity", "name", "message", "rack"}
            assert re.fullmatch(r"\d{4}", record["asctime"]) and record["rack"] == "r1"
            assert record["name"] == "dcs" or record["severity"] not in ("DEBUG", "INFO")
        # the backlog of the API's socket stands in the column of what is to be sent; a
        # small one is raised
        sockets = subprocess.run(["ss", "-ltnH", f"sport = :{node.rest_port}"], text=True,
                                 capture_output=True, check=True).stdout
        assert sockets.split()[2] == "300"
        start = node.log_end()
        node.write_config(extra={"log": {"type": "json", "level": "WARNING",
                                         "loggers": {"patroni.ha": "INFO"}}})
        node.signal(signal.SIGHUP)
        wait_for("words of the controller", lambda: [
            r for r in records(node, start) if "the leader with the lock" in r["message"]], 30)
        assert {r["process"] for r in records(node, start)
                if r.get("levelname") == "INFO"} == {"postgres"}
