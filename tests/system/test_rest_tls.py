"""TLS of the REST API: reload of certificates, clients' certificates,
ciphers, passwords of keys, authentication, the allowlist, many handshakes."""
import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import threading

import pytest

from cluster import BUILD, Cluster, children, cmdline, wait_for
from tls import Authority

HANDSHAKES = int(os.environ.get("HANDSHAKES", "2000"))
TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}


@pytest.fixture(scope="module")
def node():
    with Cluster(1, dcs=TIMING) as cluster:
        yield cluster.start().nodes[0]


@pytest.fixture(scope="module")
def ca(node):
    return Authority(node.dir)


def context(ca, cert=None, **options):
    c = ssl.create_default_context(cafile=ca.cert)
    if cert:
        c.load_cert_chain(*cert)
    for name, value in options.items():
        setattr(c, name, value)
    return c


def call(node, path, method="GET", tls=None, headers=None, body=None):
    """(status, headers, text)"""
    if tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", node.rest_port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", node.rest_port, timeout=10,
                                                 context=tls)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def served_serial(node, tls):
    with socket.create_connection(("127.0.0.1", node.rest_port), 10) as plain:
        with tls.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            return int(s.getpeercert()["serialNumber"], 16)


def configure(node, ready, **restapi):
    node.write_config(extra={"restapi": restapi})
    node.signal(signal.SIGHUP)
    return wait_for("the reload", ready, 20)


def fails(action):
    """An attempt that must not succeed, when the reload has come through."""
    def failed():
        try:
            return action()[0] == 0
        except (OSError, http.client.HTTPException):
            return True
    return failed


class Asking:
    """A load balancer that asks without pause over plain HTTP, on one kept
    connection and on new ones; `wrong` is what it was not content with."""

    def __init__(self, node):
        self.node, self.wrong, self.right = node, [], 0
        self.kept = http.client.HTTPConnection("127.0.0.1", node.rest_port, timeout=5)
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        self.kept.close()

    def ask(self):
        while not self.end.wait(0.01):
            try:
                self.kept.request("GET", "/primary", headers={"Connection": "keep-alive"})
                answer = self.kept.getresponse()
                answer.read()
                codes = (answer.status, call(self.node, "/primary")[0])
            except (OSError, http.client.HTTPException) as error:
                codes = repr(error)
            if codes == (200, 200):
                self.right += 1
            else:
                self.wrong.append(codes)


def rest_processes(node):
    return [p for p in children(node.pid) if cmdline(p).startswith("patroni: rest")]


def test_turned_on_by_reload(node, ca):
    """What cannot be used leaves the plain API as it is, without a gap."""
    rest = node.helper("rest")
    cert, key = ca.issue("server")
    _, other = ca.issue("elsewhere")
    nothing, absent = str(node.dir / "nothing.crt"), str(node.dir / "absent.key")
    (node.dir / "nothing.crt").write_text("-----BEGIN NOTHING-----\n")
    refused = "helper rest keeps its old configuration: restapi."
    with Asking(node) as balancer:
        for name, file, settings in (
                ("certfile", nothing, {"certfile": nothing, "keyfile": key}),
                ("certfile", absent, {"certfile": absent, "keyfile": key}),
                ("keyfile", absent, {"certfile": cert, "keyfile": absent}),
                ("keyfile", other, {"certfile": cert, "keyfile": other}),
                ("cafile", absent, {"certfile": cert, "keyfile": key, "cafile": absent})):
            start, before = node.log_end(), balancer.right
            configure(node, lambda: node.logged(refused + name, start), **settings)
            assert node.logged(f"restapi\\.{name}.*{re.escape(file)}", start)
            wait_for("the plain API", lambda: balancer.right > before + 3, 10)
            wait_for("one process", lambda: rest_processes(node) == [rest], 10)
        assert balancer.wrong == [] and balancer.right > 0
    assert not node.logged(r"helper rest \(pid \d+\)")
    tls = context(ca)
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert, keyfile=key)
    wait_for("one process", lambda: len(rest_processes(node)) == 1, 10)
    assert node.helper("rest") != rest
    assert node.logged("TLS was turned on: the REST API goes over to a new process")
    # from here on it can be turned off and on in place
    rest = node.helper("rest")
    configure(node, lambda: call(node, "/primary")[0] == 200)
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert, keyfile=key)
    assert rest_processes(node) == [rest]
    # a new address that came with what is refused is served when that is mended
    elsewhere, start = f"127.0.0.2:{node.rest_port}", node.log_end()
    configure(node, lambda: node.logged(refused + "keyfile", start), certfile=cert, keyfile=other,
              listen=elsewhere)
    assert call(node, "/primary", tls=tls)[0] == 200
    there = http.client.HTTPSConnection("127.0.0.2", node.rest_port, timeout=10,
                                        context=context(ca, check_hostname=False))

    def served():
        try:
            there.request("GET", "/primary")
            return there.getresponse().status == 200
        except OSError:
            there.close()
            return False

    configure(node, served, certfile=cert, keyfile=key, listen=elsewhere)
    there.close()
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert, keyfile=key)
    assert not node.logged(r"helper rest \(pid \d+\)")


def answers(node, tls=None):
    try:
        return call(node, "/primary", tls=tls)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_killed_with_a_refused_configuration(node, ca):
    """A new process has nothing old to keep: it is given what was served."""
    cert, key = ca.issue("server")
    configure(node, lambda: call(node, "/primary")[0] == 200)
    start = node.log_end()
    configure(node, lambda: node.logged("helper rest keeps its old configuration", start),
              certfile=cert, keyfile=str(node.dir / "absent.key"))
    for _ in range(2):
        start, old = node.log_end(), node.helper("rest")
        os.kill(old, signal.SIGKILL)
        wait_for("a new process", lambda: node.logged(
            "helper rest goes back to its old configuration: restapi.keyfile", start), 20)
        wait_for("the plain API", lambda: answers(node), 20)
        assert node.helper("rest") != old
    tls = context(ca)
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert, keyfile=key)
    # from here on this is what is served
    os.kill(node.helper("rest"), signal.SIGKILL)
    wait_for("https", lambda: answers(node, tls), 20)


def test_certificates(node, ca):
    cert, key = ca.issue("server")
    tls = context(ca)
    extra = {"http_extra_headers": {"X-A": "1", "X-B": "1"},
             "https_extra_headers": {"X-B": "2", "X-C": "3"}, "server_tokens": "ProductOnly"}
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert,
              keyfile=key, **extra)
    status, headers, _ = call(node, "/patroni", tls=tls)
    assert status == 200 and headers["Server"] == "Patroni"
    assert [headers[k] for k in ("X-A", "X-B", "X-C")] == ["1", "2", "3"]
    # the same port never speaks both
    with pytest.raises((OSError, http.client.HTTPException)):
        call(node, "/primary")
    # TLS 1.1 is refused, 1.2 and 1.3 work
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        one = context(ca, minimum_version=version, maximum_version=version)
        assert call(node, "/primary", tls=one)[0] == 200
    old = context(ca)
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        call(node, "/primary", tls=old)
    # a connection from before a reload goes on
    kept = http.client.HTTPSConnection("127.0.0.1", node.rest_port, timeout=10, context=tls)
    kept.request("GET", "/primary", headers={"Connection": "keep-alive"})
    assert kept.getresponse().read()
    serial = served_serial(node, tls)
    ca.issue("server")  # other serial and key, same names; nothing else changed
    node.signal(signal.SIGHUP)
    wait_for("the new certificate", lambda: served_serial(node, tls) == serial + 1, 20)
    kept.request("GET", "/primary", headers={"Connection": "keep-alive"})
    assert kept.getresponse().status == 200
    kept.close()


def test_bad_certificate_keeps_the_old(node, ca):
    tls = context(ca)
    serial = served_serial(node, tls)
    for name in ("server.crt", "server.key"):
        good = (node.dir / name).read_text()
        (node.dir / name).write_text("-----BEGIN NOTHING-----\n")
        start = node.log_end()
        node.signal(signal.SIGHUP)
        wait_for("a complaint", lambda start=start: node.logged("restapi\\.(cert|key)file", start),
                 20)
        assert served_serial(node, tls) == serial
        (node.dir / name).write_text(good)
    assert call(node, "/primary", tls=tls)[0] == 200


def test_key_password_and_ciphers(node, ca):
    cert, key = ca.issue("locked", password="the secret")
    tls = context(ca)
    serial = ca.serial
    configure(node, lambda: served_serial(node, tls) == serial, certfile=cert, keyfile=key,
              keyfile_password="the secret", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    one = context(ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    one.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert call(node, "/primary", tls=one)[0] == 200
    one.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(OSError):
        call(node, "/primary", tls=one)
    start = node.log_end()
    configure(node, lambda: node.logged("restapi.keyfile", start), certfile=cert, keyfile=key,
              keyfile_password="wrong")
    configure(node, lambda: node.logged("restapi.ciphers", start), certfile=cert, keyfile=key,
              keyfile_password="the secret", ciphers="NO-SUCH-CIPHER")
    assert served_serial(node, tls) == serial
    assert "the secret" not in node.log.read_text(errors="replace")


@pytest.mark.parametrize("mode", ["optional", "required"])
def test_client_certificates(node, ca, mode):
    cert, key = ca.issue("server")
    mine, foreign = ca.issue("client"), Authority(node.dir, "other").issue("stranger")
    bare, known, stranger = context(ca), context(ca, mine), context(ca, foreign)

    def ready():
        try:
            unsafe = call(node, "/sigterm", "POST", bare)
        except OSError:
            return mode == "required"
        return unsafe[0] == 403 and mode == "optional"

    configure(node, ready, certfile=cert, keyfile=key, cafile=ca.cert,
              verify_client=mode.upper())
    assert call(node, "/primary", tls=known)[0] == 200
    assert call(node, "/sigterm", "POST", known)[0] == 202
    with pytest.raises((OSError, http.client.HTTPException)):
        call(node, "/primary", tls=stranger)
    if mode == "optional":
        assert call(node, "/primary", tls=bare)[0] == 200
        status, _, text = call(node, "/restart", "POST", bare, body="{")
        assert (status, text) == (403, "client certificate required")
    else:
        with pytest.raises((OSError, http.client.HTTPException)):
            call(node, "/primary", tls=bare)


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_authentication_and_allowlist(node):
    auth = {"username": "admin", "password": "pass:word\u00e4"}
    configure(node, lambda: call(node, "/sigterm", "POST")[0] == 401, authentication=auth)
    status, headers, text = call(node, "/restart", "POST", body="{")
    assert (status, text) == (401, "no auth header received")
    assert headers["WWW-Authenticate"] == 'Basic realm="Patroni"'
    good = basic("admin:pass:word\u00e4")
    for wrong in (basic("admin:x"), basic("admin:pass:word\u00e4x"), basic(""),
                  {"Authorization": good["Authorization"].replace("Basic", "basic")},
                  {"Authorization": good["Authorization"].replace(" ", "  ")},
                  {"Authorization": good["Authorization"] + "A" * 9000}):
        status, headers, text = call(node, "/restart", "POST", headers=wrong, body="x" * 100000)
        assert (status, text) == (401, "not authenticated")
        assert headers["WWW-Authenticate"] == 'Basic realm="Patroni"'
    assert call(node, "/sigterm", "POST", headers=good)[0] == 202
    assert call(node, "/primary")[0] == 200
    # names are resolved; addresses are checked before credentials
    for allowed, entries in ((True, ["localhost"]), (False, ["10.0.0.0/8", "192.168.1.1"]),
                             (True, ["10.1.2.3", "127.1.2.3/8"]), (False, ["does.not.exist."]),
                             (True, ["::ffff:127.0.0.1"]), (False, ["300.1.1.1/8"])):
        code = 202 if allowed else 403
        configure(node, lambda code=code: call(node, "/sigterm", "POST", headers=good)[0] == code,
                  authentication=auth, allowlist=entries)
        if not allowed:
            assert call(node, "/sigterm", "POST")[2] == "Access is denied"
    assert node.logged(r"Failed to resolve does\.not\.exist\.")
    assert node.logged(r'Invalid value "300\.1\.1\.1/8" in the allowlist')
    configure(node, lambda: call(node, "/sigterm", "POST", headers=good)[0] == 202,
              authentication=auth, allowlist_include_members=True)
    # a member that is known by its name alone: dcs resolves it for rest
    configure(node, lambda: call(node, "/sigterm", "POST", headers=good)[0] == 403,
              authentication=auth, allowlist=["10.0.0.0/8"])
    configure(node, lambda: "http://localhost:" in (node.cluster.etcd.get(
        f"/service/test/members/{node.name}")[0] or ""), authentication=auth,
              allowlist=["10.0.0.0/8"], allowlist_include_members=True,
              connect_address=f"localhost:{node.rest_port}")
    wait_for("the member to be let in", lambda: call(
        node, "/sigterm", "POST", headers=good)[0] == 202, 20)
    configure(node, lambda: "http://no.such.name.invalid:" in (node.cluster.etcd.get(
        f"/service/test/members/{node.name}")[0] or ""), authentication=auth,
              allowlist=["10.0.0.0/8"], allowlist_include_members=True,
              connect_address=f"no.such.name.invalid:{node.rest_port}")
    wait_for("nobody to be let in", lambda: call(
        node, "/sigterm", "POST", headers=good)[0] == 403, 20)
    assert "pass:word" not in node.log.read_text(errors="replace")


def memory(pid):
    """Resident kB that are not shared; a sanitizer keeps what is freed."""
    if "san" in BUILD.name:
        return 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))


def test_handshakes_do_not_grow(node, ca):
    cert, key = ca.issue("server")
    tls = context(ca)
    configure(node, lambda: call(node, "/primary", tls=tls)[0] == 200, certfile=cert, keyfile=key)
    rest = node.helper("rest")

    def handshakes(count):
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", node.rest_port), 10) as plain:
                with tls.wrap_socket(plain, server_hostname="127.0.0.1") as s:
                    s.sendall(b"OPTIONS / HTTP/1.0\r\n\r\n")
                    assert s.recv(100).startswith(b"HTTP/1.0 200")

    handshakes(300)  # pools and caches fill once
    before = memory(rest)
    handshakes(HANDSHAKES)
    assert memory(rest) - before < 256
    assert node.helper("rest") == rest


def maps(node, name):
    with open(f"/proc/{node.helper(name)}/maps", encoding="utf-8") as f:
        return f.read()


def test_members_with_tls():
    """The store is asked over plain HTTP: for a member whose api_url is https
    the client with TLS is loaded when it is needed first, inside the sandbox."""
    with Cluster(2, dcs=TIMING) as cluster:
        a, b = cluster.start().nodes
        dcs = a.helper("dcs")
        assert "patroni-https.so" not in maps(a, "dcs")
        ca = Authority(b.dir)
        cert, key = ca.issue("server")
        configure(b, lambda: call(b, "/replica", tls=context(ca))[0] == 200, certfile=cert,
                  keyfile=key)
        wait_for("its address", lambda: '"api_url":"https://' in (
            cluster.etcd.get(f"/service/test/members/{b.name}")[0] or ""), 20)
        start = a.log_end()

        def switched():
            """a asks b for its state; refused while it knows the old address"""
            status, _, text = call(a, "/switchover", "POST", headers={
                "Content-Type": "application/json"}, body=json.dumps(
                    {"leader": a.name, "candidate": b.name}))
            assert status in (200, 412, 503), text
            return status == 200

        wait_for("a switchover", switched, 30)
        wait_for("the new leader", lambda: (cluster.etcd.get(
            "/service/test/leader")[0] == b.name and b.writable()), 30)
        assert "patroni-https.so" in maps(a, "dcs") and "libcurl" in maps(a, "dcs")
        with open(f"/proc/{dcs}/status", encoding="utf-8") as f:
            assert "Seccomp:\t2" in f.read()
        assert a.helper("dcs") == dcs
        assert not a.logged("TLS is not available", start)
        assert not a.logged("sandbox: dcs: refused", start)
