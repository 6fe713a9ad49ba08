"""The contract of a store driver, as tests that know no store.

A module test_conformance_<store>.py names its STORE and imports these; the
summary of a run prints the table driver x test (conftest.py).  Clients are
processes (agent.py); between them and the server stands a relay (relay.py)
that loses, delays and spoils.
"""
import contextlib
import json
import pathlib
import re
import shutil
import signal
import statistics
import tempfile
import time

import pytest

import stores
from agent import Agent, now_ms
from basics import PATIENCE, Ports, wait_for

LEADER = 1 << 2  # enum dcs_key
WAKE_LEADER, WAKE_CONFIG, WAKE_STATUS, WAKE_OTHER = 1, 2, 3, 4
BAD = ("failed", "unknown")


@pytest.fixture(scope="module")
def server(request):
    """One server for all tests of a module, behind a relay."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    store = stores.new(request.module.STORE, directory, ports, relay=True)
    try:
        store.start()
        yield store
    finally:
        store.close()
        ports.close()
        shutil.rmtree(directory, ignore_errors=True)


class Bench:
    """A scope of its own on the server, and the agents that a test starts."""

    def __init__(self, store, scope):
        self.store = store
        self.scope = scope
        self.relay = store.relay
        self.stack = contextlib.ExitStack()

    def agent(self, name, **options):
        return self.stack.enter_context(
            Agent(self.store, name, scope=self.scope, **options))

    @property
    def ttl(self):
        return max(self.store.min_ttl, 3)

    def path(self, key):
        return f"/service/{self.scope}/{key}"

    def get(self, key):
        return self.store.get(self.path(key))[0]

    def created(self, key="leader"):
        entry = self.store.get(self.path(key))[1]
        return self.store.created(entry) if entry is not None else None


@pytest.fixture
def bench(server, request):
    if server.process is None:
        server.start()
    # a scope has to be a name that every store accepts
    made = Bench(server, "s" + re.sub("[^a-z0-9]+", "-", request.node.name.replace("test", ""))[:40].rstrip("-"))
    try:
        yield made
    finally:
        server.relay.reset()
        with contextlib.suppress(ProcessLookupError, AttributeError):
            server.signal(signal.SIGCONT)
        made.stack.close()


def outcomes(agents, op, **more):
    numbers = [a.send(op, **more) for a in agents]
    return [a.wait(n)["outcome"] for a, n in zip(agents, numbers)]


# ---- the lock


def test_empty(bench):
    view = bench.agent("a").view(8000)
    assert view["unlocked"]
    assert view["empty"] or not bench.store.members_expire


def test_race_of_ten(bench):
    agents = [bench.agent(f"n{i}", ttl=max(bench.ttl, 8)) for i in range(10)]
    for a in agents:
        a.view(10000)
    for _ in range(3):
        got = outcomes(agents, "acquire", ms=8000)
        assert sorted(got) == ["ok"] + ["refused"] * 9, got
        winner = agents[got.index("ok")]
        assert bench.get("leader") == winner.name
        for a in agents:
            wait_for(f"{a.name} to see the winner", lambda a=a: a.leader() == winner.name, 10)
        # a loser can neither prolong nor release it
        loser = agents[got.index("refused")]
        assert loser.call("update")["outcome"] == "refused"
        assert loser.call("release")["outcome"] == "refused"
        winner.does("release", optime=4711)
        for a in agents:
            wait_for(f"{a.name} to see it free", lambda a=a: a.view()["unlocked"], 10)


def test_refresh(bench):
    """Held for longer than the ttl, by updates alone, and nobody else gets it."""
    a, b = bench.agent("a", ttl=bench.ttl), bench.agent("b", ttl=bench.ttl)
    a.view(8000)
    a.does("acquire")
    made = bench.created()
    end = time.monotonic() + bench.store.expiry(bench.ttl) + 2
    while time.monotonic() < end:
        before = now_ms()
        answer = a.does("update")
        # the lease counts from when the request left, never from later
        assert before - 1 <= answer["sent_ms"] <= now_ms() + 1
        assert b.call("acquire")["outcome"] == "refused"
        time.sleep(0.5)
    assert bench.created() == made


def test_loss_by_ttl(bench):
    """A holder that hangs loses the lock; it learns that when it wakes up."""
    a, b = bench.agent("a", ttl=bench.ttl), bench.agent("b", ttl=bench.ttl)
    a.view(8000)
    b.view(8000)
    a.does("acquire")
    wait_for("b to see the lock", lambda: b.leader() == "a", 10)
    mark, at = len(b.events), time.monotonic()
    a.kill(signal.SIGSTOP)
    b.event("the lock is gone", lambda e: e["wake"] == WAKE_LEADER,
            bench.store.expiry(bench.ttl), mark)
    assert time.monotonic() - at > bench.ttl * 0.5, "gone too early"
    assert b.view()["unlocked"]
    b.does("acquire")
    a.kill(signal.SIGCONT)
    assert a.call("update")["outcome"] == "refused"
    assert bench.get("leader") == "b"
    assert a.leader(8000) == "b"


def test_release(bench):
    a, b = bench.agent("a", ttl=20), bench.agent("b", ttl=20)
    a.view(8000)
    b.view(8000)
    assert b.call("release")["outcome"] == "refused"
    a.does("acquire")
    wait_for("b to see the lock", lambda: b.leader() == "a", 10)
    mark = len(b.events)
    at = now_ms()
    a.does("release", optime=4711)
    event = b.event("wake-up", lambda e: e["wake"] == WAKE_LEADER, 10, mark)
    assert event["at_ms"] - at < 1000 * PATIENCE
    wait_for("b to see it free", lambda: b.view()["unlocked"], 5)
    assert b.view()["optime"] == 4711
    b.does("acquire")
    assert a.call("update")["outcome"] == "refused"
    assert bench.get("leader") == "b"


def succeed(bench, step):
    """Kill the client in that step, start another of its name; None: it had let go."""
    ttl = max(bench.ttl, 5)
    a = bench.agent("a", ttl=ttl)
    a.view(8000)
    if step != "acquire":
        a.does("touch")
        a.does("acquire")
    made = bench.created()
    a.send(step)
    if step == "acquire":
        time.sleep(0.02)  # it may have got there or not: both have to end well
    a.kill()
    if step == "release" and bench.get("leader") is None:
        return None
    successor = bench.agent("a", ttl=ttl)
    unlocked = successor.view(8000)["unlocked"]
    if unlocked:
        successor.does("acquire")
    successor.does("update")
    # a release that was on its way got there after the look at the key
    let_go = step == "release" and unlocked
    if bench.store.keeps_entry and made is not None and not let_go:
        assert bench.created() == made
    return successor


def test_successor(server, bench):
    """A client killed at each step; its successor of the same name keeps the lock."""
    benches = [Bench(server, f"{bench.scope}-{step}")
               for step in ("acquire", "update", "touch", "release")]
    with contextlib.ExitStack() as stack:
        for b in benches:
            stack.enter_context(b.stack)
        held = [(b, succeed(b, b.scope.rsplit("-", 1)[1])) for b in benches]
        held = [(b, s, b.agent("b", ttl=5)) for b, s in held if s is not None]
        assert len(held) >= 3
        # longer than what the dead one had
        end = time.monotonic() + server.expiry(max(bench.ttl, 5))
        while time.monotonic() < end:
            for b, successor, other in held:
                successor.does("update")
                successor.does("touch")
                assert other.call("acquire")["outcome"] == "refused"
                assert b.get("leader") == "a"
            time.sleep(0.3)
        for b, successor, other in held:
            successor.does("release")
            wait_for("the lock to be free", lambda o=other: o.view()["unlocked"], 5)


def test_take(bench):
    """After a bootstrap the lock is taken; a second taker does no harm to itself."""
    a = bench.agent("a", ttl=10)
    a.view(8000)
    a.does("take")
    assert bench.get("leader") == "a"
    a.does("update")


# ---- keys


def test_first_token(bench):
    """What was read as absent may be written with the token 0, once."""
    a, b = bench.agent("a"), bench.agent("b")
    a.view(8000)
    b.view(8000)
    first = a.does("sync", leader="a", token=0)
    assert b.call("sync", leader="b", token=0)["outcome"] == "refused"
    assert json.loads(bench.get("sync"))["leader"] == "a"
    a.does("sync", leader="a", voters=["b"], token=first["token"])


def test_cas(bench):
    a, b = bench.agent("a"), bench.agent("b")
    a.view(8000)
    first = a.does("sync", leader="a", voters=["c", "b"])
    wait_for("b to see it", lambda: b.view()["sync_leader"] == "a", 10)
    view = b.view()
    assert view["sync_standby"] == ["b", "c"] or view["sync_standby"] == ["c", "b"]
    assert view["sync_token"] == first["token"]
    second = a.does("sync", leader="a", voters=["b"], token=first["token"])
    assert second["token"] != first["token"]
    # the old token is of no use any more, the answer's is
    assert b.call("sync", leader="b", token=first["token"])["outcome"] == "refused"
    assert b.call("delete_sync", token=first["token"])["outcome"] == "refused"
    assert json.loads(bench.get("sync"))["leader"] == "a"
    # of two at once one wins
    got = [x.send("sync", leader=x.name, token=second["token"]) for x in (a, b)]
    got = [x.wait(n)["outcome"] for x, n in zip((a, b), got)]
    assert sorted(got) == ["ok", "refused"], got
    winner = "ab"[got.index("ok")]
    wait_for("both to see it", lambda: all(
        x.view()["sync_leader"] == winner for x in (a, b)), 10)
    token = a.view()["sync_token"]
    a.does("delete_sync", token=token)
    wait_for("the end of it", lambda: all(
        x.view()["sync_leader"] == "" for x in (a, b)), 10)
    # configuration and the request for a failover, the same way
    a.does("config", value='{"ttl":20}')
    wait_for("the configuration", lambda: b.view()["config"] == {"ttl": 20}, 10)
    view = b.view()
    assert view["config_modify"] != 0
    b.does("config", value='{"ttl":21}', token=view["config_token"])
    assert a.call("config", value="{}", token=view["config_token"])["outcome"] == "refused"
    wait_for("another modification", lambda: a.view()["config_modify"]
             != view["config_modify"], 10)
    a.does("failover", member="b")
    wait_for("the request", lambda: b.view()["failover_member"] == "b", 10)
    token = b.view()["failover_token"]
    b.does("failover", token=token)
    assert a.call("failover", member="a", token=token)["outcome"] == "refused"


def test_documents(bench):
    a, b = bench.agent("a", ttl=10), bench.agent("b", ttl=10)
    a.view(8000)
    b.view(8000)
    a.does("initialize", create=True)
    assert b.call("initialize", create=True)["outcome"] == "refused"
    wait_for("the mark of the bootstrap", lambda: b.view()["has_initialize"], 10)
    assert b.view()["initialize"] == ""
    a.does("initialize", create=False, sysid="7301234567890123456")
    wait_for("the identifier", lambda: b.view()["initialize"] == "7301234567890123456", 10)
    a.does("config", value='{"ttl":30}')
    a.does("acquire")
    doc = {"slots": {"a": 42, "b": 41}, "failsafe": {"a": "http://h:1/patroni"}}
    a.does("update", optime=42, doc=doc)
    wait_for("status and failsafe", lambda: (
        b.view()["optime"], b.view()["slots"], b.view()["failsafe"]) == (42, 2, 1), 10)
    assert json.loads(bench.get("status")) == {"optime": 42, "slots": doc["slots"]}
    a.does("history", lines=[[1, 100, "no recovery target specified", "t", "a"]])
    wait_for("the history", lambda: b.view()["history"] == 1, 10)
    a.does("cancel_initialize")
    wait_for("no mark", lambda: not b.view()["has_initialize"], 10)
    a.does("remove")
    wait_for("nothing", lambda: bench.get("config") is None and bench.get("status") is None, 10)


def test_member(bench):
    """Seen by others, not written again unchanged, gone with its owner."""
    a, b = bench.agent("a", ttl=bench.ttl), bench.agent("b", ttl=bench.ttl)
    a.view(8000)
    b.view(8000)
    a.does("touch", lsn=7)

    def member():
        return next((m for m in b.view()["members"] if m["name"] == "a"), None)
    # (a pod is a member before it has said anything)
    wait_for("the member", lambda: member() and member()["xlog_location"] == 7, 10)
    token = member()["token"]
    if bench.store.suppresses_touch:
        a.view()  # it knows what is stored
        a.does("touch", lsn=7)
        time.sleep(0.5)
        assert member()["token"] == token
    a.does("touch", lsn=8)
    wait_for("the new value", lambda: member()["xlog_location"] == 8, 10)
    assert member()["token"] != token
    end = time.monotonic() + bench.store.expiry(bench.ttl)
    while time.monotonic() < end:
        a.does("touch", lsn=8)
        assert member() is not None
        time.sleep(0.5)
    a.kill()
    if bench.store.members_expire:
        wait_for("the member to go", lambda: member() is None, bench.store.expiry(bench.ttl) + 2)


def test_ctl(bench):
    """patronictl's client: fresh reads, no lease, its keys stay."""
    a, c = bench.agent("a", ttl=10), bench.agent("x", ctl=True)
    a.view(8000)
    a.does("acquire")
    assert c.leader(8000) == "a"
    a.does("release")
    assert c.view()["unlocked"]
    c.does("touch")
    assert "x" in [m["name"] for m in c.view()["members"] if m["state"] == "running"]
    c.does("failover", member="a")
    token = c.view()["failover_token"]
    c.does("failover", token=token)
    c.does("remove")
    if bench.store.members_expire:
        assert c.view()["members"] == []


def test_settings(bench):
    """Another ttl: the lock stays with its owner and lives by the new one."""
    low = bench.ttl
    a, b = bench.agent("a", ttl=30), bench.agent("b", ttl=30)
    a.view(8000)
    b.view(8000)
    a.does("touch")
    a.does("acquire")
    for x in (a, b):
        x.does("settings", ttl=low, loop_wait=1, retry_timeout=3)
    a.does("update", ms=8000)
    a.does("touch", ms=8000)
    assert b.call("acquire")["outcome"] == "refused"
    a.does("update")
    a.kill()
    wait_for("the end of the lock", lambda: b.view()["unlocked"], bench.store.expiry(low) + 2)


# ---- watch


def test_watch_latency(bench):
    """A change wakes the others soon; the slowest and the middle are printed."""
    a, b = bench.agent("a", ttl=20), bench.agent("b", ttl=20)
    a.view(8000)
    b.view(8000)
    took = []
    for _ in range(5):
        for op in ("acquire", "release"):
            mark, at = len(b.events), now_ms()
            a.does(op)
            event = b.event(op, lambda e: e["changed"] & LEADER and e["wake"] == WAKE_LEADER,
                            10, mark)
            took.append(event["at_ms"] - at)
    print(f"\nwatch latency on {bench.store.section}: median {statistics.median(took):.1f} ms, "
          f"most {max(took):.1f} ms")
    assert statistics.median(took) < 300 * PATIENCE
    a.does("config", value='{"ttl":20}')
    wait_for("the configuration", lambda: b.view()["config"], 5)
    mark = len(b.events)
    a.does("config", value='{"ttl":21}')
    b.event("configuration", lambda e: e["wake"] == WAKE_CONFIG, 10, mark)
    mark = len(b.events)
    a.does("failover", member="b")
    b.event("request", lambda e: e["wake"] == WAKE_OTHER, 10, mark)


# ---- trouble


def test_lost_answers(bench):
    """The server did it, the answer is lost: found out, or said to be unknown."""
    a, b = bench.agent("a", ttl=20), bench.agent("b", ttl=20)
    a.view(8000)
    b.view(8000)
    a.does("touch")
    if bench.store.lock_request:
        bench.relay.drop(bench.store.lock_request, 2)
        answer = a.call("acquire", ms=6000)
        assert answer["outcome"] == "ok", answer
        assert bench.relay.dropped > 0
        assert bench.get("leader") == "a"
        bench.relay.drop(bench.store.lock_request, 1)
        answer = a.call("update", ms=6000)
        assert answer["outcome"] == "ok", answer
    else:
        a.does("acquire")
    token = a.does("sync", leader="a")["token"]
    bench.relay.drop(bench.store.sync_request, 1)
    answer = a.call("sync", leader="a", quorum=1, token=token, ms=6000)
    assert answer["outcome"] in ("ok", "unknown"), answer
    if answer["outcome"] == "ok":
        wait_for("the token", lambda: a.view()["sync_token"] == answer["token"], 5)
    assert json.loads(bench.get("sync"))["quorum"] == 1
    # not repeated: it may or may not be there, and that is what is said
    bench.relay.drop(bench.store.write_request, 2)
    answer = a.call("failover", member="b")
    assert answer["outcome"] in ("unknown", "ok"), answer
    bench.relay.reset()
    wait_for("all to see the owner", lambda: (a.leader(), b.leader()) == ("a", "a"), 10)
    a.does("update", ms=6000)


def test_restart(bench):
    """The server is killed and comes back: loads, writes and the watch do, too."""
    a, b = bench.agent("a", ttl=30), bench.agent("b", ttl=30)
    a.view(8000)
    b.view(8000)
    a.does("touch")
    a.does("acquire")
    bench.store.stop()
    answer = a.call("update")
    assert answer["outcome"] in BAD, answer
    answer = b.call("load", ms=1500)
    assert answer["outcome"] in BAD, answer
    bench.store.start()
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 30)
    wait_for("a load", lambda: b.call("load", ms=5000)["outcome"] == "ok", 30)
    if bench.store.persistent:
        a.does("update", ms=8000)
    else:
        wait_for("the lock", lambda: a.call("acquire", ms=8000)["outcome"] == "ok", 10)
    assert b.call("acquire", ms=8000)["outcome"] == "refused"
    mark = len(b.events)
    a.does("failover", member="b")
    b.event("request", lambda e: e["wake"] == WAKE_OTHER, 10, mark)


def test_slow_server(bench):
    a = bench.agent("a", ttl=30, retry_timeout=6)
    a.view(8000)
    a.does("touch")
    bench.relay.delay = 0.3
    a.does("acquire", ms=6000)
    a.does("update", ms=6000, optime=1)
    a.does("sync", ms=6000, leader="a")
    a.does("release", ms=6000)


@pytest.mark.parametrize("mode", ["hang", "refuse", "garbage", "error"])
def test_trouble(bench, mode):
    """Every answer comes by its deadline, none is stale, no lock is called lost."""
    a, b = bench.agent("a", ttl=30), bench.agent("b", ttl=30)
    a.view(8000)
    b.view(8000)
    a.does("touch")
    a.does("acquire")
    bench.relay.set(mode)
    if mode in ("garbage", "error"):
        bench.relay.cut()
    numbers = [a.send("update", ms=2500), a.send("sync", ms=2500, leader="a"),
               a.send("touch", ms=2500, lsn=9), a.send("failover", ms=2500, member="b")]
    for number in numbers:
        answer = a.wait(number)
        assert answer["outcome"] in BAD, answer
        assert answer["took_ms"] < (2500 + 700) * PATIENCE, answer
    answer = b.call("acquire", ms=2500)
    assert answer["outcome"] in BAD, answer
    answer = a.call("load", ms=1500)
    assert answer["outcome"] in BAD, answer
    assert answer["took_ms"] < (1500 + 700) * PATIENCE, answer
    bench.relay.reset()
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
    a.does("update", ms=8000)
    assert a.leader() == "a"
    assert bench.get("leader") == "a"


@pytest.mark.parametrize("mode", ["refuse", "garbage", "error"])
def test_trouble_ends_in_time(bench, mode):
    """Trouble that is over before the deadline is not noticed by the caller."""
    a = bench.agent("a", ttl=30, retry_timeout=8)
    a.view(8000)
    a.does("touch")
    a.does("acquire")
    bench.relay.set(mode)
    if mode in ("garbage", "error"):
        bench.relay.cut()
    number = a.send("update", ms=8000)
    time.sleep(1)
    bench.relay.reset()
    answer = a.wait(number)
    assert answer["outcome"] == "ok", answer
    assert answer["took_ms"] > 700
    assert a.leader(8000) == "a"


def test_half_open_watch(bench):
    """A connection that died silently is noticed by the next request."""
    a, b = bench.agent("a", ttl=20), bench.agent("b", ttl=20)
    a.view(8000)
    b.view(8000)
    b.does("touch")
    bench.relay.set("hang")
    answer = b.call("touch", ms=2500, lsn=3)
    assert answer["outcome"] in BAD, answer
    bench.store.put(bench.path("leader"), "other")
    bench.relay.cut()
    bench.relay.reset()
    wait_for("the news", lambda: b.leader(5000) == "other", 20)
    bench.store.delete(bench.path("leader"))
    wait_for("the news", lambda: b.view(5000)["unlocked"], 20)
