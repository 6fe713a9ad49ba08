"""Ways to reach a store: TLS with client certificates, accounts, URLs, IPv6,
proxies; each on the real etcd, and on the double of Consul."""
import base64
import contextlib
import json
import pathlib
import shutil
import socket
import tempfile

import pytest

import stores
from agent import Agent
from basics import Ports, wait_for
from relay import Relay
from tls import Authority


@pytest.fixture
def place():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(ports.close)
        yield directory, ports, stack


def works(store, section, stack, name="a", key="leader"):
    """A client with that section gets and keeps the lock."""
    a = stack.enter_context(Agent(store, name, section=section, ttl=30))
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 30)
    a.does("touch", ms=6000)
    a.does("acquire", ms=6000)
    wait_for("its lock", lambda: a.leader() == name, 10)
    a.does("update", ms=6000)
    mark = len(a.events)
    a.does("failover", member="x")
    wait_for("the request", lambda: a.view()["failover_member"] == "x", 10)
    assert len(a.events) > mark
    a.does("release", ms=6000)
    return a


def fails(store, section, stack):
    a = stack.enter_context(Agent(store, "z", section=section, ttl=30))
    assert a.call("load", ms=2500)["outcome"] == "failed"
    answer = a.call("acquire", ms=2500)
    assert answer["outcome"] in ("failed", "unknown"), answer
    return a


class TlsEtcd:
    """etcd of either API that serves https and asks for client certificates."""

    def __init__(self, section, directory, ports, authority):
        class Server(stores.STORES[section]):
            def command(self):
                line = [w.replace("http://", "https://") if "client-urls" in before else w
                        for before, w in zip(["", *super().command()], super().command())]
                crt, key = authority.issue("server")
                return [*line, "--trusted-ca-file", authority.cert, "--cert-file", crt,
                        "--key-file", key, "--client-cert-auth"]

            def ready(self):
                with contextlib.suppress(OSError), socket.create_connection(
                        ("127.0.0.1", self.client), 1):
                    return True
                return False
        self.store = Server(directory, ports)


@pytest.mark.parametrize("section", ["etcd3", "etcd", "consul"])
def test_tls(place, section):
    directory, ports, stack = place
    authority, foreign = Authority(directory), Authority(directory, "foreign")
    if section == "consul":
        crt, key = authority.issue("server")
        store = stores.new(section, directory, ports, arguments=(
            "--cert", crt, "--key", key, "--ca", authority.cert))
        store.ready = lambda: socket.create_connection(("127.0.0.1", store.client), 1).close() \
            is None
        base = {"host": f"127.0.0.1:{store.client}", "scheme": "https"}
    else:
        store = TlsEtcd(section, directory, ports, authority).store
        base = {"host": f"127.0.0.1:{store.client}", "protocol": "https"}
    stack.callback(store.close)
    store.start()
    crt, key = authority.issue("client")
    good = dict(base, cacert=authority.cert, cert=crt, key=key)
    works(store, good, stack)
    both = directory / "both.pem"
    both.write_text(pathlib.Path(crt).read_text() + pathlib.Path(key).read_text())
    works(store, dict(base, cacert=authority.cert, cert=str(both)), stack)
    fails(store, dict(base, cacert=authority.cert), stack)
    fails(store, dict(good, cacert=foreign.cert), stack)
    # certificates that change on disk are read at a reload
    a = works(store, good, stack)
    wrong = dict(good, cacert=str(directory / "none.crt"))
    assert a.call("reload", config=dict(a.config, **{section: wrong}))["outcome"] == "failed"
    a.does("acquire", ms=6000)
    a.does("reload", config=dict(a.config, **{section: good}))
    assert a.leader(6000) == "a"


def test_account_v2(place):
    """Basic authentication, in options and in the URL, and a guest shut out."""
    directory, ports, stack = place
    store = stores.new("etcd", directory, ports)
    stack.callback(store.close)
    store.start()
    kind = {"Content-Type": "application/json"}
    root = dict(kind, Authorization="Basic " + base64.b64encode(b"root:s:cr t").decode())
    assert store.http("/v2/auth/users/root", "PUT",
                      b'{"user":"root","password":"s:cr t"}', kind)[0] == 201
    assert store.http("/v2/auth/enable", "PUT", b"", kind)[0] == 200
    guest = {"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}}
    assert store.http("/v2/auth/roles/guest", "PUT", json.dumps(guest).encode(), root)[0] == 200
    address = f"127.0.0.1:{store.client}"
    works(store, {"host": address, "username": "root", "password": "s:cr t"}, stack)
    works(store, {"url": f"http://root:s%3Acr%20t@{address}"}, stack)
    a = stack.enter_context(Agent(store, "b", section={"host": address}))
    assert a.call("load", ms=2500)["outcome"] == "failed"
    answer = a.call("acquire", ms=2500)
    assert answer["outcome"] == "refused" and "s:cr t" not in answer["error"]
    good = {"host": address, "username": "root", "password": "s:cr t"}
    a.does("reload", config=dict(a.config, etcd=good))
    wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
    a.does("acquire", ms=6000)


@pytest.mark.parametrize("section", ["etcd3", "etcd", "consul"])
def test_addresses(place, section):
    """host and port, hosts as text, url, IPv6 in brackets, proxy, use_proxies."""
    directory, ports, stack = place
    store = stores.new(section, directory, ports)
    stack.callback(store.close)
    store.start()
    port = store.client
    six = None
    with contextlib.suppress(OSError):
        six = Relay(ports.take(), port, address="::1")
        six.start()
        stack.callback(six.close)
    ways = [{"host": "127.0.0.1", "port": port}, {"url": f"http://127.0.0.1:{port}"},
            {"host": "localhost", "port": str(port)}]
    if six is not None and six.listener is not None:
        ways += [{"host": f"[::1]:{six.port}"}, {"url": f"http://[::1]:{six.port}"}]
    if section != "consul":
        relay = Relay(ports.take(), port)
        relay.start()
        stack.callback(relay.close)
        dead = ports.take()
        ways += [{"hosts": f"127.0.0.1:{dead},127.0.0.1:{port}"},
                 {"hosts": ["127.0.0.1"], "port": port},
                 {"proxy": f"http://127.0.0.1:{relay.port}"},
                 {"hosts": [f"127.0.0.1:{relay.port}"], "use_proxies": True}]
    for section_of in ways:
        works(store, section_of, stack)
    if section != "consul":
        # through a proxy alone: the members' own address is never used
        before = relay.count()
        a = works(store, ways[-2], stack)
        relay.set("refuse")
        assert a.call("update", ms=2500)["outcome"] in ("failed", "unknown")
        assert relay.count() > before
