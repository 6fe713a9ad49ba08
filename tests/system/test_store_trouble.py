"""Reports of users, as tests: what stores did to clusters."""
import contextlib
import json
import pathlib
import shutil
import signal
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import stores
from agent import Agent
from basics import Ports, wait_for
from cluster import Cluster
from relay import Relay

OLD_TERM, TERM = "2", "7"


class OldMember(BaseHTTPRequestHandler):
    """A member of etcd that was cut off long ago: it answers from its old
    state, under an old term, and does not know it."""

    protocol_version = "HTTP/1.1"
    kind = "etcd3"
    cluster_id = ""
    asked = 0

    def log_message(self, *_):
        pass

    def answer(self, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        type(self).asked += 1
        if self.path == "/version":
            self.answer({"etcdserver": "3.4.23", "etcdcluster": "3.4.0"})
        else:
            # v2: an old tree in which nobody leads
            self.answer({"action": "get", "node": {"key": "/service/test", "dir": True}},
                        X_Etcd_Index="5", X_Raft_Term=OLD_TERM, X_Etcd_Cluster_Id=self.cluster_id)

    def do_POST(self):
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # v3: an old range, without any key
        self.answer({"header": {"cluster_id": self.cluster_id, "revision": "5",
                                "raft_term": OLD_TERM}})

    def do_PUT(self):
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # v2: done, it says
        node = {"key": "/service/test/leader", "value": "a", "modifiedIndex": 6,
                "createdIndex": 5}
        self.answer({"action": "compareAndSwap", "node": node}, X_Etcd_Index="6",
                    X_Raft_Term=OLD_TERM, X_Etcd_Cluster_Id=self.cluster_id)

    do_DELETE = do_PUT


@pytest.fixture
def place():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(ports.close)
        yield directory, ports, stack


@pytest.mark.parametrize("section", ["etcd3", "etcd"])
def test_old_term(place, section):
    """A client that gets to a member with an old term does not believe it."""
    directory, ports, stack = place
    store = stores.new(section, directory, ports)
    stack.callback(store.close)
    store.start()
    header = store.call("/v3/maintenance/status", {})["header"]
    handler = type("Old", (OldMember,), {"cluster_id": header["cluster_id"] if section == "etcd3"
                                         else f"{int(header['cluster_id']):x}"})
    # the real one's term has to be higher than the old one's
    for _ in range(3):
        if int(store.call("/v3/maintenance/status", {})["raftTerm"]) > int(OLD_TERM):
            break
        store.restart()
    assert int(store.call("/v3/maintenance/status", {})["raftTerm"]) > int(OLD_TERM)
    server = ThreadingHTTPServer(("127.0.0.1", ports.take()), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    # a relay in front of the real one, so that it can go away for a while
    relay = Relay(ports.take(), store.client)
    relay.start()
    stack.callback(relay.close)
    config = {"hosts": [f"127.0.0.1:{relay.port}", f"127.0.0.1:{server.server_port}"],
              "use_proxies": True}
    a = stack.enter_context(Agent(store, "a", section=config, ttl=30))
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
    a.does("touch", ms=5000)
    a.does("acquire", ms=5000)
    wait_for("its own lock", lambda: a.leader() == "a", 10)
    relay.set("refuse")
    # the old one answers: that nobody leads, and that all was well
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        answer = a.call("update", ms=2500)
        assert answer["outcome"] in ("failed", "unknown"), answer
        answer = a.call("load", ms=1500)
        assert answer["outcome"] == "failed", answer
    assert handler.asked > 0
    assert "Old known term" in a.stderr()
    relay.reset()
    a.does("update", ms=10000)
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
    assert a.leader() == "a"


def three_members(directory, ports):
    """(members, configuration): etcd as a cluster of three."""
    taken = [(ports.take(), ports.take()) for _ in range(3)]
    together = ",".join(f"m{i}=http://127.0.0.1:{peer}" for i, (_, peer) in enumerate(taken))
    members = []
    for i, (client, peer) in enumerate(taken):
        place = directory / f"m{i}"
        place.mkdir()
        member = stores.Etcd3(place, ports)
        member.client, member.peer = client, peer
        base = member.command

        def command(base=base, i=i):
            line = base()
            line[line.index("--name") + 1] = f"m{i}"
            line[line.index("--initial-cluster") + 1] = together
            return line
        member.command = command
        member.ready = lambda: True
        members.append(member)
    return members, {"hosts": [f"127.0.0.1:{client}" for client, _ in taken]}


def healthy(member):
    with contextlib.suppress(OSError, ValueError):
        return member.call("/v3/kv/range", {"key": "YQ=="})
    return None


def test_three_members(place):
    """Of three members one dies, then the client's one hangs: others answer."""
    directory, ports, stack = place
    members, config = three_members(directory, ports)
    for m in members:
        stack.callback(m.close)
        m.start()
    wait_for("a leader", lambda: all(healthy(m) for m in members), 60)
    a = stack.enter_context(Agent(members[0], "a", section=config, ttl=30, retry_timeout=8))
    a.view(10000)
    a.does("touch", ms=8000)
    a.does("acquire", ms=8000)
    for victim in members:
        victim.signal(signal.SIGSTOP)
        a.does("update", ms=9000)
        answer = a.call("load", ms=9000)
        assert answer["outcome"] == "ok" and answer["view"]["leader"] == "a", answer
        victim.signal(signal.SIGCONT)
        wait_for("all members", lambda: all(healthy(m) for m in members), 60)
        victim.stop()
        a.does("update", ms=9000)
        victim.start()
        wait_for("all members", lambda: all(healthy(m) for m in members), 60)
        assert a.leader(9000) == "a"


def test_no_quorum_with_failsafe(place):
    """etcd without a leader answers errors; failsafe mode keeps the primary."""
    directory, ports, stack = place
    members, config = three_members(directory, ports)
    for m in members:
        stack.callback(m.close)
        m.start()
    wait_for("a leader", lambda: all(healthy(m) for m in members), 60)
    cluster = Cluster(2, dcs={"failsafe_mode": True, "ttl": 20, "loop_wait": 3,
                              "retry_timeout": 3}, extra={"etcd3": config})
    cluster.etcd.close()
    # what the tests look into is the member that stays
    cluster.etcd = members[0]
    cluster.etcd.start = lambda: None
    with cluster:
        cluster.start()
        leader = cluster.wait_leader()
        postmaster, start = leader.postmaster(), leader.log_end()
        other = next(n for n in cluster.nodes if n is not leader)
        for m in members[1:]:
            m.stop()
        wait_for("failsafe mode", lambda: leader.logged(
            "continue to run as a leader because failsafe mode", start), 60)
        end = time.monotonic() + 25  # longer than the ttl
        while time.monotonic() < end:
            assert leader.postmaster() == postmaster and leader.writable()
            assert not other.writable()
            time.sleep(0.5)
        for m in members[1:]:
            m.start()
        wait_for("a leader", lambda: all(healthy(m) for m in members), 60)
        cluster.wait_healthy()
        assert cluster.leader() is leader and leader.postmaster() == postmaster


@pytest.mark.parametrize("section", ["etcd3", "etcd", "consul"])
def test_hanging_connections(place, section):
    """Connections hang for less than retry_timeout: the lock is kept, and no
    answer is later than its deadline."""
    directory, ports, stack = place
    store = stores.new(section, directory, ports, relay=True)
    stack.callback(store.close)
    store.start()
    a = stack.enter_context(Agent(store, "a", ttl=30, retry_timeout=6))
    b = stack.enter_context(Agent(store, "b", ttl=30, retry_timeout=6))
    a.view(8000)
    b.view(8000)
    a.does("touch")
    a.does("acquire")
    for _ in range(2):
        store.relay.set("hang")
        number = a.send("update", ms=6000)
        time.sleep(2.5)
        store.relay.reset()
        answer = a.wait(number)
        assert answer["outcome"] == "ok", answer
        assert answer["took_ms"] < 6000
        assert b.call("acquire", ms=6000)["outcome"] == "refused"
        assert a.leader(6000) == "a"
