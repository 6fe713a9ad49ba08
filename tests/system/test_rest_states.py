"""Health checks while PostgreSQL is made, starts, stops, fails or crashes
(spec/rest-api.md 6.5); the other situations are in test_rest_table.py.

The nodes run PostgreSQL through a directory of links in which initdb and
postgres wait at a gate, or fail, as the test wants.
"""
import http.client
import json
import pathlib
import signal

from cluster import PG_BIN, Cluster, kill, wait_for
from test_rest_table import (TIMING, expect, patch, sees_members, server_process, state, stopped,
                             write_table)

# what the lock holder answers while its PostgreSQL serves nobody
HOLDER = "p l ro ros roq live ready"


class Programs:
    """bin_dir of one node: <program>.wait holds it back, .fail makes it fail."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        for program in PG_BIN.iterdir():
            if program.name not in ("initdb", "postgres"):
                (self.dir / program.name).symlink_to(program)
                continue
            script = self.dir / program.name
            script.write_text(f"#!/bin/sh\nwhile [ -e {script}.wait ]; do sleep 0.1; done\n"
                              f"[ ! -e {script}.fail ] || exit 1\nexec {program} \"$@\"\n")
            script.chmod(0o755)

    def set(self, what):
        (self.dir / what).touch()

    def clear(self, what):
        (self.dir / what).unlink()


def shown(node, name):
    """The state by name and by its index in /metrics agree."""
    text = node.rest("/metrics")[1]
    document = node.patroni()
    index = {"initializing new cluster": 0, "creating replica": 4, "running": 5, "starting": 6,
             "start failed": 8, "restarting": 9, "stopping": 11, "stopped": 12, "crashed": 14}
    values = [line for line in text.splitlines() if line.startswith("patroni_postgres_state")]
    if document["state"] != name or values[0].rsplit(" ", 1)[1] != str(index[name]):
        return False
    # SQL is tried in three states only (5.1), and may work in all of them
    assert name in ("running", "starting", "restarting") or "xlog" not in document
    return True


def situation(text, node, name, good):
    wait_for(f"{node.name} to be {name}", lambda: shown(node, name), 40)
    expect(text, node, good)


def bootstrap(node, programs):
    programs.set("initdb.wait")
    programs.set("postgres.wait")
    node.start()
    wait_for("the API", lambda: node.status("/liveness") == 200, 30)
    situation("initdb runs", node, "initializing new cluster", "live")
    # initdb itself runs postgres by its full path, the daemon by the link
    programs.clear("initdb.wait")
    situation("new cluster, PostgreSQL starting", node, "starting", "live")
    programs.clear("postgres.wait")
    wait_for("the first node to lead", node.is_leader, 60)
    expect("leader, just made", node, "p l ro ros roq h live ready")


def replica_states(node, programs, leader):
    programs.set("postgres.wait")
    kill(node.postmaster(), signal.SIGKILL)
    situation("standby, starting after a crash", node, "starting", "live")
    programs.set("postgres.fail")
    programs.clear("postgres.wait")
    situation("standby, start failed", node, "start failed", "live")
    programs.clear("postgres.fail")
    wait_for("the standby", node.streams, 60)
    checkpointer = server_process(node, "checkpointer")
    with stopped([checkpointer]):
        connection = http.client.HTTPConnection("127.0.0.1", node.rest_port, timeout=60)
        connection.request("POST", "/restart", "{}")
        situation("standby, restarting", node, "restarting", "live")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"restarted successfully")
    connection.close()
    # in maintenance nobody starts it again
    patch(leader, pause=True)
    wait_for("pause", lambda: node.patroni().get("pause"), 20)
    kill(node.postmaster(), signal.SIGINT)
    wait_for("its end", lambda: node.postmaster() is None, 30)
    wait_for("its state", lambda: node.patroni()["state"] in ("crashed", "stopped"), 20)
    expect("pause, standby stopped from outside", node, "live")
    patch(leader, pause=None)
    wait_for("the standby", node.streams, 60)


def leader_states(leader, programs, standby):
    patch(leader, primary_start_timeout=120)  # it is not to hand over
    wait_for("the setting", lambda: json.loads(standby.rest("/config")[1]).get(
        "primary_start_timeout") == 120, 20)
    programs.set("postgres.wait")
    kill(leader.postmaster(), signal.SIGKILL)
    situation("lock holder, starting after a crash", leader, "starting", HOLDER)
    programs.clear("postgres.wait")
    expect("leader, after crash recovery", leader, "p l ro ros roq h live ready", 60)


def stopping(leader, standby):
    """The old leader during a switchover: it holds the lock until it is down."""
    wait_for("the standby", standby.streams, 60)
    connection = http.client.HTTPConnection("127.0.0.1", leader.rest_port, timeout=90)
    # a primary that shuts down waits until its standbys have received all
    with stopped([server_process(standby, "walreceiver")]):
        connection.request("POST", "/switchover", json.dumps(
            {"leader": leader.name, "candidate": standby.name}))
        situation("lock holder, stopping for a switchover", leader, "stopping", HOLDER)
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (
        200, f'Successfully switched over to "{standby.name}"')
    connection.close()
    wait_for("the old leader to stream", leader.streams, 60)
    wait_for("its view", lambda: sees_members(standby), 20)


def test_stop_with_a_request_in_progress():
    """SIGTERM closes the API at once, and answers who waits for an answer."""
    with Cluster(2, dcs=TIMING) as cluster:
        leader = cluster.start().wait_leader()
        standby = next(n for n in cluster.nodes if n is not leader)
        connection = http.client.HTTPConnection("127.0.0.1", leader.rest_port, timeout=60)
        with stopped([server_process(standby, "walreceiver")]):
            connection.request("POST", "/switchover", json.dumps(
                {"leader": leader.name, "candidate": standby.name}))
            wait_for("the demotion", lambda: shown(leader, "stopping"), 40)
            leader.signal(signal.SIGTERM)

            def refused():
                try:
                    return leader.status("/health") is None
                except ConnectionRefusedError:
                    return True
            wait_for("the port to be closed", refused, 5)
            assert leader.postmaster() and leader.process.poll() is None
        answer = connection.getresponse()
        assert (answer.status, answer.read().decode()) == (
            200, f'Successfully switched over to "{standby.name}"')
        connection.close()
        assert leader.process.wait(30) == 0
        wait_for("the other to lead", standby.is_leader, 30)


def nostream(cluster, node, leader):
    node.write_config({"nostream": True}, {"postgresql": {
        "bin_dir": str(node.dir / "bin"), "recovery_conf": {"restore_command": "false"}}})
    node.signal(signal.SIGHUP)
    wait_for("archive recovery", lambda: node.patroni().get(
        "replication_state") == "in archive recovery", 60)
    expect("standby with nostream", node, "r ro a h live")
    assert node.status("/replica?replication_state=streaming") == 503
    assert node.status("/replica?replication_state=in+archive+recovery") == 200
    assert leader.is_leader() and cluster.leader() is leader


def test_states():
    with Cluster(2, dcs=TIMING) as cluster:
        a, b = cluster.nodes
        programs = {}
        for node in (a, b):
            programs[node] = Programs(node.dir / "bin")
            node.write_config(extra={"postgresql": {"bin_dir": str(programs[node].dir)}})
        bootstrap(a, programs[a])
        b.start()
        wait_for("the standby", b.streams, 60)
        replica_states(b, programs[b], a)
        leader_states(a, programs[a], b)
        stopping(a, b)
        nostream(cluster, a, b)
        write_table()
