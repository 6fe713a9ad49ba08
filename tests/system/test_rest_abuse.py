"""Clients that do harm: bounded memory, service to others goes on, and a log
that nobody can fill."""
import contextlib
import json
import os
import re
import resource
import socket
import ssl
import time

import pytest

from cluster import Cluster, wait_for
from test_rest_tls import memory
from tls import Authority

TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}
IDLE = int(os.environ.get("IDLE", "3000"))


@pytest.fixture(scope="module")
def node():
    with Cluster(1, dcs=TIMING) as cluster:
        node = cluster.start().nodes[0]
        yield node
        assert not node.logged(r"helper rest \(pid \d+\)"), "rest was restarted"


def connect(node):
    return socket.create_connection(("127.0.0.1", node.rest_port), 10)


def exchange(node, data, finish=False):
    """All that comes back for these bytes."""
    with connect(node) as s:
        s.settimeout(5)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
            if finish:
                s.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError, socket.timeout):
            while True:
                part = s.recv(65536)
                if not part:
                    return answer
                answer += part
        return answer


def code(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


def served(node, within=0.5):
    start = time.monotonic()
    assert node.status("/primary") == 200
    assert time.monotonic() - start < within


def test_malformed(node):
    start = node.log_end()
    end = b"\r\n\r\n"
    for data, status in (
            (b"GET / HTTP/1.1" + end, 200), (b"GET //primary HTTP/1.0" + end, 200),
            (b"GET http://h:1/primary?x HTTP/1.0" + end, 200),
            (b"GET / x HTTP/1.0" + end, 400), (b"x" + end, 400),
            (b"GET / HTTP/x" + end, 400), (b"GET / HTTP/2.0" + end, 505),
            (b"GET / FTP/1.0" + end, 400),
            (b"GET /" + b"a" * 70000 + b" HTTP/1.0" + end, 414),
            (b"GET / HTTP/1.0\r\nA: " + b"a" * 70000 + end, 431),
            (b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 150 + b"\r\n", 431),
            (b"BREW / HTTP/1.0" + end, 501), (b"\x00\x01\x02\xff" * 100 + end, 400),
            (b"GET /%00%2e%2e HTTP/1.0" + end, 503),
            (b"GET /../../etc/passwd HTTP/1.0" + end, 503),
            (b"GET /patroni/../config HTTP/1.0" + end, 200),
            (b"GET /config/..%2f HTTP/1.0" + end, 200),
            (b"PATCH /config HTTP/1.0\r\nContent-Length: -1" + end, 400),
            (b"PATCH /config HTTP/1.0\r\nContent-Length: 99999999999999999999" + end, 400),
            (b"PATCH /config HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 2" + end + b"{}",
             400),
            (b"PATCH /config HTTP/1.0\r\nTransfer-Encoding: chunked" + end + b"2\r\n{}\r\n0" + end,
             (400, 411)),
            (b"PATCH /config HTTP/1.0\r\nContent-Length: 50000000" + end + b"x" * 100000, 413)):
        got = code(exchange(node, data))
        wanted = status if isinstance(status, tuple) else (status,)
        assert got in wanted, (data[:60], got)
    assert exchange(node, b"", finish=True) == b""
    assert exchange(node, b"\r\n" * 10, finish=True) == b""
    assert exchange(node, b"GET / HT", finish=True) == b""
    # smuggled line ends do not come back in the head
    assert b"\nX-Evil" not in exchange(
        node, b"GET /\rX-Evil:1 HTTP/9.9\x0bX\r\n\r\n").split(b"\r\n\r\n")[0]
    served(node)
    wait_for("a summary in the log", lambda: node.logged(
        r"since the last report \d+ malformed requests", start), 20)


def test_json(node):
    before = memory(node.helper("rest"))
    start = node.log_end()
    deep = [b"[" * n + b"]" * n for n in (100, 10000, 1000000)]
    wide = json.dumps({"k": list(range(300000))}).encode()
    keys = json.dumps({f"k{i}": {} for i in range(100000)}).encode()
    for body in deep + [b'{"a":' * 100000, b'{"a": "' + b"\\u0000" * 10 + b'"}', wide, keys,
                        b'{"a": 1e999}', b'{"a": ' + b"9" * 100000 + b"}"] * 3:
        head = b"PATCH /config HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert code(exchange(node, head + body)) in (400, 413), body[:20]
    served(node, 2)
    assert memory(node.helper("rest")) - before < 24 * 1024
    assert len(node.logged("Bad request", start)) <= 20
    assert node.is_leader()


def flood(node, count):
    """Silent clients, some with half a head, some with half a body."""
    clients = []
    for i in range(count):
        s = connect(node)
        if i % 3 == 1:
            s.sendall(b"GET /primary HTTP/1.1\r\nHost: a")
        elif i % 3 == 2:
            s.sendall(b"POST /restart HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        clients.append(s)
    served(node)
    return clients


def test_slow_and_idle_clients(node):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + 500), hard))
    count = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    before = memory(node.helper("rest"))
    start = node.log_end()
    clients = []
    try:
        clients = flood(node, count)
        full = memory(node.helper("rest"))
        assert full - before < count * 8  # kB
        # heads have 10 s, bodies 20 s
        wait_for("slow heads to be cut off", lambda: all(closed(s) for s in clients[1::3]), 25)
        served(node)
        wait_for("a line about them", lambda: node.logged(r"[1-9]\d* clients too slow", start), 25)
        assert len(node.logged("clients too slow", start)) < 6
        wait_for("slow bodies to be cut off", lambda: all(closed(s) for s in clients[2::3]), 25)
        for s in clients:
            s.close()
        # what was freed serves the next ones
        clients = flood(node, count)
        assert memory(node.helper("rest")) - full < 1024
        for s in clients:
            s.close()
        gone(node, before)
    finally:
        for s in clients:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def gone(node, before):
    """The clients have left: so has what they took, to the system."""
    def left():
        more = memory(node.helper("rest")) - before
        if more < 1024:
            return True
        raise ValueError(f"{more} kB")
    wait_for("their memory", left, 30)
    served(node)


def closed(s):
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_keep_alive_and_pipelining(node):
    with connect(node) as s:
        s.settimeout(5)
        one = b"GET /primary HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
        s.sendall(one * 200)
        seen = b""
        while seen.count(b"HTTP/1.1 200 OK") < 200:
            part = s.recv(65536)
            assert part
            seen += part
        # a client that asks and never reads is cut off, others are served
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                s.send(one * 100)
        served(node)
    answer = exchange(node, one.replace(b"1.1", b"1.0"))
    assert answer.startswith(b"HTTP/1.") and b"connection: keep-alive" in answer.lower() or \
        answer.startswith(b"HTTP/1.0")


def test_nobody_takes_all_connections(node):
    """Over the limit the longest idle one makes room; no request is refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5200:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (5200, hard))
    before, start = memory(node.helper("rest")), node.log_end()
    clients = []
    try:
        with connect(node) as busy:
            busy.settimeout(5)
            for i in range(4500):
                clients.append(connect(node))
                if i % 100 == 0:  # one that is used is not the longest idle
                    busy.sendall(b"GET /primary HTTP/1.1\r\nConnection: keep-alive\r\n\r\n")
                    assert busy.recv(4096).startswith(b"HTTP/1.1 200")
            served(node)
        assert closed(clients[0]) and not closed(clients[-1])
        text = node.rest("/metrics")[1]
        count = re.search(r"^patroni_manager_http_connections\S* (\d+)$", text, re.M).group(1)
        assert int(count) <= 4096
        wait_for("a line about them", lambda: node.logged(
            r"[1-9]\d* refused at a limit", start), 25)
        assert len(node.logged("refused at a limit", start)) < 6
    finally:
        for s in clients:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    gone(node, before)


def test_big_requests_at_once(node):
    """What all requests together may occupy is bounded; others are served."""
    before = memory(node.helper("rest"))
    head = b"PATCH /config HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    clients = []

    def refused():
        """One was told so, or cut off, which may overtake the answer."""
        for s in clients:
            try:
                if s.recv(4096).startswith(b"HTTP/1.0 503"):
                    return True
            except BlockingIOError:
                continue  # waits for the rest of its body
            except OSError:
                return True
        return False

    try:
        for _ in range(40):
            s = connect(node)
            s.settimeout(5)
            clients.append(s)
            with contextlib.suppress(OSError):
                s.sendall(head + b" " * 990000)
            s.setblocking(False)
            served(node, 2)
        wait_for("a refusal", refused, 10, every=0.2)
        assert memory(node.helper("rest")) - before < 48 * 1024
    finally:
        for s in clients:
            s.close()
    gone(node, before)


def test_wrong_tls(node):
    start = node.log_end()
    hello = bytes.fromhex("16030100f8010000f40303") + b"x" * 200
    exchange(node, hello)  # TLS to a plain port
    served(node)
    ca = Authority(node.dir)
    cert, key = ca.issue("server")
    node.write_config(extra={"restapi": {"certfile": cert, "keyfile": key}})
    node.rest("/reload", "POST", {})

    tls = ssl.create_default_context(cafile=ca.cert)

    def https():
        try:
            with connect(node) as s, tls.wrap_socket(s, server_hostname="127.0.0.1"):
                return True
        except OSError:
            return False
    wait_for("https", https, 20)
    before = memory(node.helper("rest"))
    for data in (b"GET / HTTP/1.0\r\n\r\n", hello, b"\x16\x03", os.urandom(2000), b"",
                 b"\x80\x2e\x01\x00\x02") * 50:
        with connect(node) as s, contextlib.suppress(OSError):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            s.settimeout(2)
            while s.recv(4096):
                pass
    assert memory(node.helper("rest")) - before < 1024
    # silent ones in the middle of a handshake, and silent ones behind it
    clients = []
    try:
        for i in range(600):
            s = connect(node)
            clients.append(s if i % 2 else tls.wrap_socket(s, server_hostname="127.0.0.1"))
        assert memory(node.helper("rest")) - before < 600 * 100
    finally:
        for s in clients:
            s.close()
    wait_for("their memory", lambda: memory(node.helper("rest")) - before < 2048, 30)
    wait_for("a line about them", lambda: node.logged(r"[1-9]\d* failed TLS handshakes", start),
             20)
    assert len(node.logged("failed TLS handshakes", start)) <= 4
