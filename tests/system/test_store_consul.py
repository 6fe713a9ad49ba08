"""What Consul alone has: sessions and their ends, tokens, service registration."""
import json
import pathlib
import shutil
import signal
import tempfile

import pytest

import stores
from agent import Agent
from basics import Ports, wait_for

TOKEN = "0aef2a54-s3cret"


@pytest.fixture
def consul(request):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    store = stores.new("consul", directory, ports, relay=True,
                       arguments=getattr(request, "param", ()))
    try:
        store.start()
        yield store
    finally:
        store.close()
        ports.close()
        shutil.rmtree(directory, ignore_errors=True)


def sessions(store):
    return json.loads(store.http("/v1/session/list")[1])


def services(store):
    return json.loads(store.http("/v1/agent/services")[1])


def test_sessions_end(consul):
    """An agent that restarts ends the sessions: the lock goes, and is won anew."""
    with Agent(consul, "a", ttl=20) as a, Agent(consul, "b", ttl=20) as b:
        a.view(8000)
        b.view(8000)
        a.does("touch")
        a.does("acquire")
        wait_for("b to see it", lambda: b.leader() == "a", 10)
        mark = len(b.events)
        consul.signal(signal.SIGUSR1)
        b.event("the lock is gone", lambda e: e["wake"] == 1, 10, mark)
        assert b.view()["unlocked"] and b.view()["members"] == []
        wait_for("a to see it", lambda: a.view()["members"] == [], 10)
        # who has no session any more makes another, and may win again
        assert a.call("touch", ms=6000)["outcome"] == "refused"
        a.does("touch", ms=6000)
        a.does("acquire", ms=6000)
        assert [m["name"] for m in a.view()["members"]] == ["a"]
        # ended between two updates, the lock still free: it is taken anew
        wait_for("the lock", lambda: a.leader() == "a", 10)
        consul.signal(signal.SIGUSR1)
        wait_for("no sessions", lambda: sessions(consul) == [], 10)
        a.does("update", ms=6000)
        assert consul.get("/service/test/leader")[0] == "a"
        # ... and taken by another: it is lost
        consul.signal(signal.SIGUSR1)
        wait_for("no sessions", lambda: sessions(consul) == [], 10)
        b.does("acquire", ms=6000)
        assert a.call("update", ms=6000)["outcome"] == "refused"


def test_no_leader(consul):
    """Servers without a leader answer errors: no lock is called lost."""
    with Agent(consul, "a", ttl=30) as a:
        a.view(8000)
        a.does("touch")
        a.does("acquire")
        consul.signal(signal.SIGUSR2)
        wait_for("no leader", lambda: consul.http("/v1/kv/x")[0] == 500, 10)
        assert a.call("update")["outcome"] in ("failed", "unknown")
        assert a.call("load", ms=1500)["outcome"] == "failed"
        consul.signal(signal.SIGUSR2)
        wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
        a.does("update", ms=8000)


def test_other_ttl(consul):
    """Another ttl, another session: keys move over without being free meanwhile."""
    with Agent(consul, "a", ttl=30) as a, Agent(consul, "b", ttl=30) as b:
        a.view(8000)
        b.view(8000)
        a.does("touch")
        a.does("acquire")
        old = a.view()["leader_session"]
        wait_for("b to see it", lambda: b.leader() == "a", 10)
        mark = len(b.events)
        a.does("settings", ttl=20, loop_wait=1, retry_timeout=3)
        a.does("update", ms=6000)
        a.does("touch", ms=6000)
        wait_for("another session", lambda: a.view()["leader_session"] not in ("", old), 10)
        assert a.view()["members"][0]["session"] == a.view()["leader_session"]
        wait_for("b to see it", lambda: b.view()["leader_session"] != old, 10)
        assert not [e for e in b.events[mark:] if e["wake"] == 1]


@pytest.mark.parametrize("consul", [("--session-ttl-min", "15s")], indirect=True)
def test_least_ttl(consul):
    """A ttl that the agent does not accept: its least one is used."""
    with Agent(consul, "a", ttl=20) as a:
        a.view(8000)
        assert a.call("acquire", ms=6000)["outcome"] == "refused"
        a.does("acquire", ms=6000)
        assert sessions(consul)[0]["TTL"] == "15.0s"
        assert sessions(consul)[0]["Behavior"] == "delete"
        assert sessions(consul)[0]["Name"] == "test-a"


@pytest.mark.parametrize("consul", [("--token", TOKEN)], indirect=True)
def test_token(consul):
    with Agent(consul, "a", section=dict(consul.config(), token="wrong")) as a:
        assert a.call("load", ms=1500)["outcome"] == "failed"
        assert a.call("acquire")["outcome"] == "refused"
        right = dict(a.config, consul=dict(consul.config(), token=TOKEN, dc="dc1",
                                           consistency="stale"))
        a.does("reload", config=right)
        wait_for("a load", lambda: a.call("load", ms=3000)["outcome"] == "ok", 20)
        a.does("acquire")
        assert TOKEN not in a.stderr()


def test_service(consul):
    section = dict(consul.config(), register_service=True, service_tags=["z", "b"],
                   service_check_interval="7s", service_check_tls_server_name="pg.test")
    with Agent(consul, "a", section=section, ttl=30) as a:
        a.view(8000)
        a.does("touch", role="replica", api_url="http://127.0.0.1:8009/patroni",
               conn_url="postgres://127.0.0.1:5433/postgres")
        wait_for("the service", lambda: "test/a" in services(consul), 10)
        made = services(consul)["test/a"]
        assert made["name"] == "test" and made["port"] == 5433
        assert made["address"] == "127.0.0.1" and made["tags"] == ["b", "z", "replica"]
        check, = made["checks"]
        assert check["http"] == "http://127.0.0.1:8009/replica"
        assert check["interval"] == "7s" and check["TLSServerName"] == "pg.test"
        assert check["DeregisterCriticalServiceAfter"] == "150.0s"
        # the same again asks the agent nothing
        before = consul.relay.count(pattern="/service/register")
        a.does("touch", role="replica", lsn=9, api_url="http://127.0.0.1:8009/patroni",
               conn_url="postgres://127.0.0.1:5433/postgres")
        a.does("touch", role="primary")
        wait_for("another role", lambda: services(consul)["test/a"]["tags"]
                 == ["b", "z", "primary", "master"], 10)
        assert consul.relay.count(pattern="/service/register") == before + 1
        a.does("touch", role="standby_leader")
        wait_for("another role", lambda: services(consul)["test/a"]["checks"][0]["http"]
                 .endswith("/standby-leader"), 10)
        a.does("touch", state="stopped")
        wait_for("no service", lambda: services(consul) == {}, 10)


def test_environment(consul, monkeypatch):
    """What the section does not say is taken from Consul's own variables."""
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"127.0.0.1:{consul.port}")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", TOKEN)
    with Agent(consul, "a", section={}) as a:
        a.view(8000)
        a.does("acquire")
        assert TOKEN not in a.stderr()
    # what the section says wins
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    with Agent(consul, "a", section=consul.config()) as a:
        a.view(8000)
