"""Requests with an effect on a live cluster: every text in its order, and
the effect itself (spec/rest-api.md 11, 15 to 19)."""
import datetime
import http.client
import json
import threading

from cluster import Cluster, wait_for

TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}
UTC = datetime.timezone.utc


def later(seconds):
    at = datetime.datetime.now(UTC) + datetime.timedelta(seconds=seconds)
    return at.replace(microsecond=0).isoformat()


def raw(node, method, path, body, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", node.rest_port, timeout=90)
    try:
        connection.putrequest(method, path)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read().decode()
    finally:
        connection.close()


def posts(node, path, *cases):
    for body, status, text in cases:
        got = node.rest(path, "POST", body, timeout=90)
        assert got == (status, text), (path, body)


def pages(node, path, methods, optional=False):
    """Bodies that are no JSON object (3.3)."""
    for method in methods:
        for body in (b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b'{"a": NaN}', b"{} {}",
                     b"[" * 5000 + b"]" * 5000):
            got = raw(node, method, path, body, {"Content-Length": str(len(body))})
            assert got[:2] == (400, "Bad Request"), (method, path, body[:20], got)
            assert "Error code explanation: 400 - Bad request syntax" in got[2]
        assert raw(node, method, path, b"", {"Content-Length": "x"})[0] == 400
        if optional:
            continue
        assert raw(node, method, path, b"", {})[:2] == (411, "Length Required")
        assert raw(node, method, path, b"", {"Content-Length": "0"})[0] == 400
        assert raw(node, method, path, b"{}", {"Content-Length": "2"})[0] == 400


ROLE = "PostgreSQL role should be either primary, standby_leader, or replica"
FORMAT = "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: "
TIMEOUT = "Timeout should be a positive number of seconds"
PARSE = ("Unable to parse scheduled timestamp. It should be in an unambiguous format, "
         "e.g. ISO 8601")
ZONE = "Timezone information is mandatory for the scheduled "
PAST = "Cannot schedule {} in the past"


def check_restart_texts(leader, replica):
    conditions = (503, "restart conditions are not satisfied")
    posts(leader, "/restart",
          ({"role": "nobody"}, 400, ROLE), ({"role": 1}, 400, ROLE),
          ({"postgres_version": "x.1"}, 400, "Invalid PostgreSQL version: x.1"),
          ({"postgres_version": "16"}, 400, FORMAT + "16"),
          ({"postgres_version": "9.6"}, 400, FORMAT + "9.6"),
          ({"postgres_version": "1.2.3.4"}, 400, FORMAT + "1.2.3.4"),
          ({"timeout": 0}, 400, TIMEOUT), ({"timeout": "x"}, 400, TIMEOUT),
          ({"timeout": None}, 400, TIMEOUT), ({"timeout": -1}, 400, TIMEOUT),
          ({"other": 1}, 400, "Unknown filter for the scheduled restart: other"),
          ({"schedule": "yesterday"}, 422, PARSE), ({"schedule": None}, 422, PARSE),
          ({"schedule": "2030-13-01T00:00:00Z"}, 422, PARSE),
          ({"schedule": "2030-01-01T00:00:00"}, 400, ZONE + "restart"),
          ({"schedule": "2020-01-01T00:00:00Z"}, 422, PAST.format("restart")),
          # the first key of the body that is wrong answers
          ({"timeout": 0, "role": "x"}, 400, TIMEOUT), ({"role": "x", "timeout": 0}, 400, ROLE),
          ({"schedule": "x", "role": "x"}, 422, PARSE),
          ({"role": "replica"}, *conditions), ({"role": "standby_leader"}, *conditions),
          ({"postgres_version": "10.1"}, *conditions),
          ({"postgres_version": "9.6.24"}, *conditions),
          ({"restart_pending": False}, *conditions))
    posts(replica, "/restart", ({"role": "primary"}, *conditions),
          ({"role": "master"}, *conditions))
    pages(leader, "/restart", ["POST"], optional=True)


def check_switch_texts(leader, replica):
    names = {"leader": leader.name, "candidate": replica.name}
    posts(leader, "/failover",
          ({"leader": leader.name}, 400,
           "Failover could be performed only to a specific candidate"),
          ({"candidate": replica.name, "scheduled_at": later(60)}, 400,
           "Failover can't be scheduled"),
          ({"candidate": "nobody"}, 412, "candidate does not exists"),
          ({"leader": "nobody", "candidate": replica.name}, 412,
           "leader name does not match"))
    posts(replica, "/switchover",
          ({"candidate": replica.name}, 400,
           "Switchover could be performed only from a specific leader"),
          ({"leader": "", "candidate": "x"}, 400,
           "Switchover could be performed only from a specific leader"),
          (dict(names, scheduled_at="soon"), 422, PARSE),
          (dict(names, scheduled_at="2030-01-01 00:00"), 400, ZONE + "switchover"),
          (dict(names, scheduled_at="2020-01-01T00:00:00Z"), 422, PAST.format("switchover")),
          ({"leader": leader.name, "candidate": leader.name}, 400,
           "Switchover target and source are the same"),
          ({"leader": "nobody"}, 412, "leader name does not match"),
          ({"leader": leader.name, "candidate": "nobody"}, 412, "candidate does not exists"))
    pages(leader, "/switchover", ["POST"])
    pages(leader, "/failover", ["POST"])
    assert leader.rest("/failover", "DELETE")[0] == 501
    assert leader.rest("/switchover", "DELETE") == (404, "no switchover is scheduled")
    text = leader.logged(r"received failover request with leader specified - "
                         r"performing switchover instead")
    assert len(text) >= 2
    assert replica.logged(r"received switchover request with leader=None candidate=x "
                          r"scheduled_at=None")


def check_paused_texts(leader, replica):
    leader.rest("/config", "PATCH", {"pause": True})
    for node in (leader, replica):
        wait_for("pause", lambda node=node: node.patroni().get("pause"), 20)
    posts(leader, "/switchover",
          ({"leader": leader.name, "candidate": replica.name, "scheduled_at": later(60)}, 400,
           "Can't schedule switchover in the paused state"),
          ({"leader": leader.name}, 400,
           "Switchover is possible only to a specific candidate in a paused state"))
    posts(leader, "/restart", ({"schedule": later(60), "role": "x"}, 500,
                               "Can't schedule restart in the paused state"))
    leader.rest("/config", "PATCH", {"pause": None})
    for node in (leader, replica):
        wait_for("no pause", lambda node=node: not node.patroni().get("pause"), 20)


def check_config(leader, replica):
    before = json.loads(leader.rest("/config")[1])
    pages(leader, "/config", ["PATCH", "PUT"])
    status, text = leader.rest("/config", "PATCH", {
        "ttl": "20", "mine": {"a": None, "b": [1, 2]}, "x": "\u00e4", "gone": None})
    after = dict(before, mine={"a": None, "b": [1, 2]}, x="\u00e4")
    assert (status, json.loads(text)) == (200, after)
    assert "\\u00e4" in text and json.loads(text)["ttl"] == before["ttl"]
    # another node shows it as soon as its watch has seen it
    wait_for("the change", lambda: json.loads(replica.rest("/config")[1]) == after, 20)
    status, text = replica.rest("/config", "PATCH", {
        "mine": {"b": None, "c": 1.5}, "x": None, "big": "y" * 200000})
    assert json.loads(text)["mine"] == {"a": None, "c": 1.5}
    assert json.loads(leader.cluster.etcd.get("/service/test/config")[0]) == json.loads(text)
    assert leader.rest("/config", "PUT", before) == (200, json.dumps(before))
    assert json.loads(leader.cluster.etcd.get("/service/test/config")[0]) == before
    big = json.dumps({"x": "y" * (5 << 20)}).encode()
    assert raw(leader, "PATCH", "/config", big, {"Content-Length": str(len(big))})[0] == 413


def check_others(leader, replica):
    assert leader.rest("/sigterm", "POST", {}) == (202, "shutdown scheduled")
    assert leader.rest("/reload", "POST", {}) == (202, "reload scheduled")
    wait_for("the reload", lambda: leader.logged("No local configuration items changed"), 20)
    assert leader.rest("/nothing", "POST", {})[0] == 501
    status, text = leader.rest("/primary", "DELETE")
    assert status == 501 and "Server does not support this operation" in text
    assert leader.rest("/failsafe", "POST", {"name": "x"})[0] == 502  # mode is off
    assert leader.rest("/failsafe")[0] == 502
    for path in ("/citus", "/mpp"):
        assert leader.rest(path, "POST", {"type": "after_promote"}) == (200, "OK")
    posts(leader, "/reinitialize", ({}, 503, "I am the leader, can not reinitialize"))
    pages(replica, "/reinitialize", ["POST"], optional=True)
    assert replica.patroni()["state"] == "running"


def check_scheduled_restart(node):
    at = later(3600)
    body = {"restart_pending": True, "timeout": "1min", "schedule": at, "role": "replica",
            "postgres_version": "99.1"}
    posts(node, "/restart", (body, 202, "Restart scheduled"),
          ({"schedule": later(60)}, 409, "Another restart is already scheduled"))
    shown = dict(body, timeout=60)

    def published():
        document = json.loads(node.rest("/patroni")[1])
        return document.get("scheduled_restart")

    wait_for("the document", published, 10)
    assert list(published().items()) == list(shown.items())
    key = f"/service/test/members/{node.name}"
    stored = wait_for("the member key", lambda: json.loads(
        node.cluster.etcd.get(key)[0]).get("scheduled_restart"), 10)
    assert stored.pop("postmaster_start_time") == node.patroni()["postmaster_start_time"]
    assert stored == shown

    def in_cluster():
        members = json.loads(node.rest("/cluster")[1])["members"]
        return next(m for m in members if m["name"] == node.name).get("scheduled_restart")

    wait_for("the member", in_cluster, 10)
    assert node.rest("/restart", "DELETE") == (200, "scheduled restart deleted")
    assert node.rest("/restart", "DELETE") == (404, "no restarts are scheduled")
    wait_for("its end", lambda: published() is None and in_cluster() is None, 10)
    started = node.patroni()["postmaster_start_time"]
    posts(node, "/restart", ({"schedule": later(3)}, 202, "Restart scheduled"))
    wait_for("the restart", lambda: node.streams() and
             node.patroni()["postmaster_start_time"] != started, 30)
    assert published() is None


def check_restart(leader, replica):
    for node in (replica, leader):
        started = node.patroni()["postmaster_start_time"]
        assert node.rest("/restart", "POST", {}, timeout=60) == (200, "restarted successfully")
        document = node.patroni()
        assert document["state"] == "running" and document["postmaster_start_time"] != started
    leader.rest("/config", "PATCH", {"postgresql": {"parameters": {"max_connections": 61}}})
    for node in (leader, replica):
        wait_for("a pending restart", lambda node=node: node.patroni().get("pending_restart"), 30)
        assert node.patroni()["pending_restart_reason"] == {
            "max_connections": {"old_value": "60", "new_value": "61"}}
        assert node.rest("/restart", "POST", {"restart_pending": True, "role": node.patroni()[
            "role"], "timeout": 60, "postgres_version": "99.9"}, timeout=60) == (
                200, "restarted successfully")
        wait_for("none", lambda node=node: not node.patroni().get("pending_restart"), 20)


def check_reinitialize(replica, leader):
    (replica.data / "left-over").touch()
    start = replica.log_end()
    assert replica.rest("/reinitialize", "POST", {"from_leader": "on"}) == (
        200, "reinitialize started")
    status, text = replica.rest("/reinitialize", "POST", {})
    assert (status, text) == (503, "reinitialize already in progress")
    assert replica.rest("/restart", "POST", {}) == (503, "reinitialize already in progress")
    wait_for("the clone", lambda: replica.streams() and
             not (replica.data / "left-over").exists(), 60)
    assert replica.logged(rf"replica has been created using basebackup", start) or \
        replica.logged(rf"bootstrapped from leader '{leader.name}'", start)


def check_switchover(cluster, leader, replica):
    posts(leader, "/switchover", ({"leader": leader.name, "candidate": replica.name}, 200,
                                  f'Successfully switched over to "{replica.name}"'))
    cluster.wait_healthy()
    # to anybody, asked of a node that is not the leader, by the old key name
    posts(leader, "/switchover", ({"leader": replica.name, "member": leader.name}, 200,
                                  f'Successfully switched over to "{leader.name}"'))
    cluster.wait_healthy()
    posts(leader, "/failover", ({"candidate": replica.name}, 200,
                                f'Successfully failed over to "{replica.name}"'))
    cluster.wait_healthy()
    at = later(3600)
    assert replica.rest("/switchover", "POST", {"leader": replica.name, "scheduled_at": at}) == (
        202, "Switchover scheduled")
    shown = wait_for("the plan on the other node", lambda: json.loads(
        leader.rest("/cluster")[1])["scheduled_switchover"], 10)
    assert shown == {"at": at, "from": replica.name}
    assert leader.rest("/switchover", "DELETE") == (200, "scheduled switchover deleted")
    assert leader.rest("/switchover", "DELETE") == (404, "no switchover is scheduled")
    assert replica.rest("/switchover", "POST", {
        "leader": replica.name, "candidate": leader.name, "scheduled_at": later(3)}) == (
            202, "Switchover scheduled")
    wait_for("the scheduled switchover", lambda: cluster.leader() is leader, 40)
    cluster.wait_healthy()
    history = json.loads(leader.rest("/history")[1])
    assert len(history) == 4 and history[-1][4] == leader.name


def check_openapi(leader):
    """Every answer of the running server is one that the description names."""
    spec = json.loads(leader.rest("/openapi.json")[1])
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if method in ("get", "head", "options"):
                status = leader.rest(path, method.upper())[0]
                assert str(status) in operation["responses"], (path, method, status)
            else:  # a body that is refused has no effect, and the route exists
                status = raw(leader, method.upper(), path, b"[]", {"Content-Length": "2"})[0]
                assert status != 501, (path, method)
                assert str(status) in operation["responses"], (path, method, status)
        for method in ("get", "head", "options", "post", "put", "patch", "delete"):
            if method not in operations:
                # safe methods are health checks by the path, which knows none here
                want = 503 if method in ("get", "head", "options") else 501
                assert leader.rest(path, method.upper())[0] == want, (path, method)


def figures(node):
    """{metric with its own labels: value}"""
    found = {}
    for line in node.rest("/metrics")[1].splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            common = f'scope="test",name="{node.name}"'
            assert common in name
            found[name.replace(common + ",", "").replace("{" + common + "}", "")] = float(value)
    return found


def check_metrics(leader, replica):
    """The figures of a live node agree with its documents; the manager's own move."""
    before = figures(leader)
    wait_for("a few cycles", lambda: figures(leader)["patroni_manager_loops_total"] >
             before["patroni_manager_loops_total"] + 1, 20)
    mine, other = figures(leader), figures(replica)
    document = leader.patroni()
    assert mine["patroni_postgres_server_version"] == document["server_version"]
    assert mine["patroni_postgres_timeline"] == document["timeline"]
    assert mine["patroni_primary"] == other["patroni_replica"] == 1
    assert mine["patroni_replica"] == other["patroni_primary"] == 0
    assert other["patroni_postgres_streaming"] == 1
    assert mine["patroni_xlog_location"] > 0 < other["patroni_xlog_replayed_location"]
    at = datetime.datetime.fromisoformat(document["postmaster_start_time"])
    assert abs(mine["patroni_postmaster_start_time"] - at.timestamp()) < 0.001
    assert 0 < mine["patroni_manager_lease_seconds"] <= TIMING["ttl"]
    assert other["patroni_manager_lease_seconds"] == 0
    for now in (mine, other):
        assert 0 < now["patroni_manager_loop_seconds"] < 5
        assert 0 <= now["patroni_manager_snapshot_age_seconds"] < TIMING["ttl"]
        assert 0 < now["patroni_manager_dcs_last_request_seconds"] < 5
        count = now["patroni_manager_dcs_request_seconds_count"]
        assert 0 < now["patroni_manager_dcs_request_seconds_sum"] < 5 * count
        for process in ("dcs", "rest", "postgres", "watchdog"):
            label = f'{{process="{process}"}}'
            assert now["patroni_manager_helper_restarts_total" + label] >= 0
            assert now["patroni_manager_ipc_queue_bytes" + label] < 1 << 20
    # the leader renews its lock in every cycle
    assert mine["patroni_manager_dcs_request_seconds_count"] > \
        before["patroni_manager_dcs_request_seconds_count"]
    assert mine["patroni_manager_http_requests_total"] > \
        before["patroni_manager_http_requests_total"]


def test_requests():
    with Cluster(2, dcs=TIMING) as cluster:
        leader = cluster.start().wait_leader()
        replica = next(n for n in cluster.nodes if n is not leader)
        check_restart_texts(leader, replica)
        check_switch_texts(leader, replica)
        check_config(leader, replica)
        check_others(leader, replica)
        check_openapi(leader)
        check_metrics(leader, replica)
        cluster.wait_healthy()
        check_paused_texts(leader, replica)
        check_scheduled_restart(replica)
        check_restart(leader, replica)
        cluster.wait_healthy()
        check_reinitialize(replica, leader)
        cluster.wait_healthy()
        check_switchover(cluster, leader, replica)


def leaves_for_its_restart(node):
    """While a synchronous standby asks to be released, it says so."""
    wait_for("it to be synchronous", lambda: node.patroni().get("sync_standby"), 40)
    thread = threading.Thread(target=lambda: node.rest("/restart", "POST", {}, timeout=60))
    thread.start()
    try:
        wait_for("its tags", lambda: node.patroni().get("tags") == {
            "nosync": True, "sync_priority": 0}, 20)
    finally:
        thread.join()
    wait_for("no tags", lambda: "tags" not in node.patroni(), 20)


def test_requests_wait_for_nobody():
    """Two at once: one works, one is told so; peers answer meanwhile."""
    with Cluster(3, dcs=dict(TIMING, synchronous_mode=True)) as cluster:
        leader = cluster.start().wait_leader()
        sync = wait_for("a synchronous standby", lambda: next(
            (n for n in cluster.nodes if n.patroni().get("sync_standby")), None), 40)
        other = next(n for n in cluster.nodes if n not in (leader, sync))
        posts(leader, "/switchover", ({"leader": leader.name, "candidate": other.name}, 412,
                                      "candidate name does not match with sync_standby"))
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            leader.rest("/restart", "POST", {}, timeout=60)))
        thread.start()
        wait_for("the restart", lambda: leader.patroni()["state"] != "running", 20, every=0)
        status, text = leader.rest("/restart", "POST", {}, timeout=60)
        thread.join()
        assert answers == [(200, "restarted successfully")]
        assert (status, text) in ((503, "restart already in progress"),
                                  (200, "restarted successfully"))
        cluster.wait_healthy()
        # the restart of the leader may have given the part to the other one
        sync = wait_for("a synchronous standby", lambda: next(
            (n for n in cluster.nodes if n.patroni().get("sync_standby")), None), 40)
        other = next(n for n in cluster.nodes if n not in (leader, sync))
        leaves_for_its_restart(sync)
        cluster.wait_healthy()
        # a failover may go to a node that is not synchronous
        posts(other, "/failover", ({"candidate": other.name}, 200,
                                   f'Successfully failed over to "{other.name}"'))
        cluster.wait_healthy()
