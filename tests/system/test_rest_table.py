"""Health checks of real nodes in the situations of spec/rest-api.md 6.5.

Every check is asked by GET, HEAD and OPTIONS in every situation and compared
with the table of the specification; the measured table is printed, and added
to $REST_TABLE when that names a file.  test_rest_states.py has the situations
in which PostgreSQL does not run.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from cluster import PG_BIN, Cluster, children, cmdline, kill, wait_for

# letter of the table -> its paths
PATHS = {
    "p": ["/", "/primary", "/master", "/read-write"],
    "l": ["/leader"],
    "sl": ["/standby-leader", "/standby_leader"],
    "r": ["/replica", "/my-replica"],
    "ro": ["/read-only"],
    "s": ["/sync", "/synchronous"],
    "q": ["/quorum"],
    "a": ["/async", "/asynchronous"],
    "ros": ["/read-only-sync", "/read-only-synchronous"],
    "roq": ["/read-only-quorum"],
    "h": ["/health", "/healthz"],
    "live": ["/liveness"],
    "ready": ["/readiness"],
    "none": ["/nothing", "/sync/", "/async/", "/quorum/"],
}
TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}

measured = []  # (situation, {letter: code})


def ask(node, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", node.rest_port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    bare = method != "GET" or path in ("/liveness", "/readiness")
    assert bool(body) != bare, (method, path, body)
    return answer.status


def column(node, letter):
    """The one code that all paths of a letter and all methods give."""
    codes = {(path, method): ask(node, path, method)
             for path in PATHS[letter] for method in ("GET", "HEAD", "OPTIONS")}
    assert len(set(codes.values())) == 1, codes
    return codes.popitem()[1]


def expect(situation, node, good, timeout=20, ignore=()):
    """Exactly the named letters are 200.  Waits for the situation to come."""
    want = set(good.split())

    def matches():
        return {k for k, v in seen.items() if v == 200} - set(ignore) == want

    assert want <= set(PATHS)
    seen = None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            seen = {letter: column(node, letter) for letter in PATHS}
        except (AssertionError, OSError, http.client.HTTPException):
            seen = None
            continue
        if matches():
            break
        time.sleep(0.05)
    assert seen is not None, f"{situation}: no stable answer"
    assert set(seen.values()) <= {200, 503}
    assert matches(), f"{situation}: {seen}; {node.rest('/patroni')[1]}"
    measured.append((situation, seen))


def write_table():
    """What was measured since the last call."""
    lines = ["situation".ljust(44) + " ".join(k.rjust(5) for k in PATHS)]
    for situation, codes in measured:
        lines.append(situation.ljust(44) + " ".join(
            ("200" if codes[k] == 200 else "").rjust(5) for k in PATHS))
    measured.clear()
    print(*lines, sep="\n")
    name = os.environ.get("REST_TABLE")
    if name:
        with open(name, "a", encoding="ascii") as table:
            print(*lines, sep="\n", file=table)


def state(node, *names):
    wait_for(f"{node.name} to be {names}", lambda: node.patroni()["state"] in names, 30)


def patch(node, **document):
    status, text = node.rest("/config", "PATCH", document)
    assert status == 200, text


def server_process(node, title):
    """A process of the node's PostgreSQL by its title."""
    def find():
        for pid in children(node.postmaster()):
            if re.search(title, cmdline(pid)):
                return pid
        return None
    return wait_for(title, find, 20)


@contextlib.contextmanager
def stopped(pids):
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def no_store(cluster):
    cluster.etcd.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.etcd.signal(signal.SIGCONT)


def gate(path, body=""):
    """A script that waits until the file <path>.open exists."""
    path.write_text(f"#!/bin/sh\nwhile [ ! -e {path}.open ]; do sleep 0.1; done\n{body}\n")
    path.chmod(0o755)
    return str(path)


def wait_healthy_sync(leader, mode, key, *standbys):
    patch(leader, synchronous_mode=mode)
    for node in standbys:
        wait_for(f"{node.name} as {key}", lambda node=node: node.patroni().get(key), 40)


def lag_checks(leader, standby):
    """lag=, replication_state= and tag_ (6.2, 6.4)."""
    standby.sql("select pg_wal_replay_pause()")
    for _ in range(3):
        leader.sql("create table if not exists lag as select repeat('x', 1000) "
                   "from generate_series(1, 2000); drop table lag")

    def codes(*queries):
        return [standby.status("/replica?" + q) for q in queries]

    try:
        wait_for("lag", lambda: codes("lag=1MB") == [503], 20)
        assert codes("lag=10GB", "lag=16KB", "lag=1TB&lag=1", "lag=") == [200] * 4
        assert codes("lag=1024", "lag=1024kB", "lag=1%4DB") == [503] * 3
        assert standby.status("/read-only?lag=1MB") == 503
        assert standby.status("/async?lag=1MB") == 503
        assert standby.status("/health?lag=1MB") == 200
        assert leader.status("/read-only?lag=1") == 200
        assert leader.status("/primary?lag=1") == 200
        assert standby.status("/readiness?lag=1MB") == 503
        wait_for("receiver", lambda: standby.status("/readiness?lag=1MB&mode=write") == 200)
    finally:
        standby.sql("select pg_wal_replay_resume()")
    wait_for("no lag", lambda: codes("lag=1MB") == [200], 20)
    assert codes("replication_state=streaming", "replication_state=in+archive+recovery") == [
        200, 503]


def tag_checks(node, base):
    for query, code in (("tag_zone=East", 200), ("tag_zone=east", 503), ("tag_level=5", 200),
                        ("tag_ratio=1.4", 200), ("tag_ok=true", 200), ("tag_ok=True", 503),
                        ("tag_nofailover=false", 503), ("tag_unknown=1", 503),
                        ("tag_zone=East&tag_level=6", 503), ("other=1", 200)):
        assert node.status(f"{base}?{query}") == code, query
    assert node.status("/leader?tag_unknown=1") == 503  # never a leader; filter not applied
    tags = node.patroni()["tags"]
    assert tags == {"zone": "East", "level": 5, "ratio": 1.4, "ok": True}


TAGS = {"zone": "East", "level": 5, "ratio": 1.4, "ok": True, "nofailover": False}


def test_primary_cluster():
    with Cluster(3, dcs=TIMING) as cluster:
        a, b, c = cluster.nodes
        clone = gate(cluster.dir / "clone.sh", "exit 1")
        promote = gate(cluster.dir / "promote.sh")
        b.write_config(TAGS, {"postgresql": {"pre_promote": promote}})
        c.write_config({"noloadbalance": True, "nosync": True}, {"postgresql": {
            "create_replica_methods": ["gate", "basebackup"],
            "gate": {"command": clone, "no_params": True}}})
        a.start()
        wait_for("the first node to lead", a.is_leader, 90)
        expect("leader, running primary", a, "p l ro ros roq h live ready")
        b.start()
        c.start()
        state(c, "creating replica")
        expect("replica being cloned", c, "live")
        pathlib.Path(clone + ".open").touch()
        cluster.wait_healthy()

        expect("healthy async standby", b, "r ro a h live ready")
        expect("standby with noloadbalance", c, "h live ready")
        lag_checks(a, b)
        tag_checks(b, "/replica")

        wait_healthy_sync(a, True, "sync_standby", b)
        expect("standby listed in /sync", b, "r ro s ros h live ready")
        expect("leader, synchronous mode", a, "p l ro ros roq h live ready")
        wait_healthy_sync(a, "quorum", "quorum_standby", b)
        expect("standby listed in /sync, quorum", b, "r ro q roq h live ready")
        patch(a, synchronous_mode=None)
        expect("async standby again", b, "r ro a h live ready")

        lock_holder(a)
        pauses(cluster, a, b)
        failsafe(cluster, a, b)
        promotion(cluster, a, b, promote)
        demotion(cluster, b, a)
        write_table()


def lock_holder(leader):
    """The lock holder whose PostgreSQL does not serve."""
    checkpointer = server_process(leader, "checkpointer")
    with stopped([checkpointer]):  # the shutdown checkpoint cannot end
        connection = http.client.HTTPConnection("127.0.0.1", leader.rest_port, timeout=60)
        connection.request("POST", "/restart", "{}")
        state(leader, "restarting", "stopping")
        expect("lock holder, PostgreSQL restarting", leader, "p l ro ros roq live ready")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"restarted successfully")
    connection.close()
    expect("leader after its restart", leader, "p l ro ros roq h live ready")
    with stopped(children(leader.postmaster())):
        state(leader, "unknown")
        assert "xlog" not in leader.patroni()
        expect("lock holder, SQL impossible", leader, "p l ro ros roq live ready")
    expect("leader, SQL works again", leader, "p l ro ros roq h live ready")


def pauses(cluster, leader, standby):
    """Maintenance mode, with and without the store."""
    patch(leader, pause=True)
    for node in (leader, standby):
        wait_for("pause", lambda node=node: node.patroni().get("pause"), 20)
    expect("pause, leader", leader, "p l ro ros roq h live ready")
    expect("pause, standby", standby, "r ro a h live ready")
    with no_store(cluster):
        wait_for("no view", lambda: not sees_members(leader), 40)
        # /readiness until the trusted lock is over
        expect("pause, no store, running primary", leader, "p l ro h live", ignore=["ready"])
        expect("pause, no store, standby", standby, "r ro h live ready", 40)
    wait_for("the lock again", lambda: cluster.leader() is leader, 40)
    wait_for("the leader's view", lambda: sees_members(leader), 40)
    subprocess.run([str(PG_BIN / "pg_ctl"), "-D", str(standby.data), "promote", "-w"],
                   check=True, capture_output=True)
    expect("pause, primary without the lock", standby, "h live")
    patch_when_possible(leader, pause=None)
    wait_for("a reinitialization", lambda: standby.rest(
        "/reinitialize", "POST", {"force": True})[0] == 200, 30)
    cluster.wait_healthy()


def sees_members(leader):
    return leader.status("/read-only-sync") == 200


def patch_when_possible(node, **document):
    wait_for("the store", lambda: node.rest("/config", "PATCH", document)[0] == 200, 30)


def failsafe(cluster, leader, standby):
    patch_when_possible(leader, failsafe_mode=True)
    wait_for("the failsafe object", lambda: len(json.loads(leader.rest("/failsafe")[1])) == 3, 30)
    wait_for("the failsafe object", lambda: standby.status("/failsafe") == 200, 30)
    with no_store(cluster):
        wait_for("failsafe", lambda: leader.patroni().get("failsafe_mode_is_active"), 40)
        expect("no store, failsafe, leader", leader, "p l ro h live ready", 40)
        expect("no store, failsafe, standby", standby, "r ro h live ready", 40)
        assert leader.writable()
        with_store = {path: leader.status(path) for path in (
            "/patroni", "/metrics", "/failsafe", "/cluster", "/history", "/config")}
        assert with_store == {"/patroni": 200, "/metrics": 200, "/failsafe": 200,
                              "/cluster": 503, "/history": 503, "/config": 503}
    patch_when_possible(leader, failsafe_mode=None)
    cluster.wait_healthy()


def promotion(cluster, old, new, script):
    """The new leader between the lock and the end of its promotion."""
    # after an outage of the store the candidate has to be back in it
    wait_for("the members in the store", lambda: sorted(
        m["name"] for m in json.loads(old.rest("/cluster")[1])["members"]
        if m["state"] in ("running", "streaming") and m.get("api_url")) == ["a", "b", "c"], 60)
    connection = http.client.HTTPConnection("127.0.0.1", old.rest_port, timeout=60)
    connection.request("POST", "/switchover", json.dumps(
        {"leader": old.name, "candidate": new.name}))
    expect("lock acquired, still in recovery", new, "p l r ro a ros roq h live ready", 40)
    # it may stream from the new leader already
    expect("former leader, now a standby", old, "r ro a h live", 40, ignore=["ready"])
    pathlib.Path(script + ".open").touch()
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (
        200, f'Successfully switched over to "{new.name}"')
    connection.close()
    cluster.wait_healthy()
    expect("new leader", new, "p l ro ros roq h live ready")


def demotion(cluster, leader, standby):
    """No store, no failsafe: demoted before the lease is over."""
    with no_store(cluster):
        # ready while they still stream from each other
        expect("no store, leader demoted", leader, "r ro h live", 40, ignore=["ready"])
        expect("no store, standby", standby, "r ro h live", 40, ignore=["ready"])
    cluster.wait_leader()
    cluster.wait_healthy()
    leader = cluster.leader()
    standby = next(n for n in cluster.nodes if n is not leader and n.name != "c")
    # nobody leads, the store works
    patch(leader, pause=True)
    wait_for("pause", lambda: standby.patroni().get("pause"), 20)
    leader.kill_tree()
    wait_for("no leader", lambda: standby.patroni().get("cluster_unlocked"), 40)
    # it streams from nobody
    expect("standby, no leader, store works", standby, "r ro a h live")
    assert standby.status("/cluster") == 200


def test_standby_cluster():
    with Cluster(1, dcs=TIMING) as source:
        source.start()
        primary = source.wait_leader()
        with Cluster(2, dcs=dict(TIMING, standby_cluster={
                "host": "127.0.0.1", "port": primary.pg_port})) as cluster:
            leader, member = cluster.nodes
            leader.start()
            wait_for("a standby leader", lambda: leader.status("/standby-leader") == 200, 90)
            member.start()
            wait_for("its member to stream", member.streams, 90)
            expect("standby leader with the lock", leader, "l sl ro ros roq h live ready")
            expect("member of a standby cluster", member, "r ro a h live ready")
            assert leader.patroni()["role"] == "standby_leader"
            roles = {m["name"]: m["role"] for m in json.loads(
                member.rest("/cluster")[1])["members"]}
            assert roles == {leader.name: "standby_leader", member.name: "replica"}
            write_table()
