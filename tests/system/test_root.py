"""A daemon that root starts: who runs as whom, files of root's, ports below
1024, and the sandbox of every process all the same (design 2).

Runs as root in a network namespace of its own, where it may listen anywhere;
`make check` started by another user leaves it out.
"""
import contextlib
import ctypes
import fcntl
import http.client
import os
import pathlib
import pwd
import signal
import socket
import ssl
import struct

import pytest

import cluster as harness
import stores
from cluster import Cluster, wait_for
from test_acts import ACTS, REFUSED
from tls import Authority

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not root")

TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
OWNER, NETWORK = "postgres", "nobody"


@pytest.fixture(scope="module", autouse=True)
def own_network():
    """A loopback of our own: any port of it may be listened on."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        pytest.skip("no network namespaces: " + os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", 1))
    yield
    assert libc.setns(before, CLONE_NEWNET) == 0
    os.close(before)


class TlsEtcd(stores.Etcd3):
    """etcd that wants client certificates."""

    def __init__(self, directory, ports, ca):
        self.ca = ca
        self.context = ssl.create_default_context(cafile=ca.cert)
        self.context.load_cert_chain(*ca.issue("tester"))
        super().__init__(directory, ports)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.client}"

    def command(self):
        cert, key = self.ca.issue("etcd")
        return [*super().command(), "--trusted-ca-file", self.ca.cert, "--cert-file", cert,
                "--key-file", key, "--client-cert-auth"]

    def http(self, path, method="GET", body=None, headers=None):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.client, timeout=5, context=self.context)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextlib.contextmanager
def root_cluster(extra=None, tls=False):
    """One node below directories that the owner of the database may enter."""
    with contextlib.ExitStack() as stack:
        cluster = Cluster(0, dcs=TIMING)
        cluster.dir.chmod(0o755)
        secrets = cluster.dir / "secrets"
        secrets.mkdir(mode=0o700)
        ca = Authority(secrets)
        document = dict({"user": NETWORK}, **(extra or {}))
        if tls:
            cluster.etcd = TlsEtcd(cluster.dir, cluster.ports, ca)
            cert, key = ca.issue("client")
            document["etcd3"] = {"protocol": "https", "cacert": ca.cert, "cert": cert,
                                 "key": key}
        for file in secrets.iterdir():
            file.chmod(0o600)
        node = harness.Node(cluster, "a", None, document)
        cluster.nodes.append(node)
        account = pwd.getpwnam(OWNER)
        os.chown(node.dir, account.pw_uid, account.pw_gid)
        node.ca, node.account = ca, account
        stack.enter_context(cluster)
        yield node


def identity(pid):
    """Names of the user and group of a process; all four ids are the same."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = []
    for key in ("Uid:", "Gid:"):
        line = next(x for x in status.splitlines() if x.startswith(key))
        ids = set(line.split()[1:])
        assert len(ids) == 1, line
        found.append(int(ids.pop()))
    return found


def runs_as(pid, name):
    account = pwd.getpwnam(name)
    assert identity(pid) == [account.pw_uid, account.pw_gid], (pid, name)


def capabilities(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("CapEff:")).split()[1], 16)


def check_identities(node, master):
    helpers = {name: node.helper(name) for name in harness.HELPERS}
    runs_as(node.pid, master)
    for name, account in (("dcs", NETWORK), ("rest", NETWORK), ("postgres", OWNER),
                          ("watchdog", OWNER)):
        runs_as(helpers[name], account)
        assert capabilities(helpers[name]) == 0, name
    runs_as(node.postmaster(), OWNER)
    return helpers


def restart_helper(node, name):
    pid = node.helper(name)
    os.kill(pid, signal.SIGKILL)
    wait_for(f"another {name}", lambda: node.helpers().get(name) not in (None, pid), 30)


def test_each_runs_as_its_user():
    with root_cluster() as node:
        node.start()
        wait_for("it to lead", node.is_leader, 90)
        check_identities(node, OWNER)
        # what is restarted later is confined and becomes its user, too
        for name in ("dcs", "rest", "postgres"):
            restart_helper(node, name)
        wait_for("it to lead", node.is_leader, 60)
        check_identities(node, OWNER)
        assert node.terminate() == 0


def test_keys_of_root():
    """The store's and the API's private keys may be readable by root alone."""
    with root_cluster(tls=True) as node:
        cert, key = node.ca.issue("server")
        for path in (cert, key):
            os.chmod(path, 0o600)
        node.write_config(extra={
            "user": NETWORK, "etcd3": {
                "protocol": "https", "cacert": node.ca.cert,
                "cert": node.ca.path("client.crt"), "key": node.ca.path("client.key")},
            "restapi": {"certfile": cert, "keyfile": key, "cafile": node.ca.cert}})
        node.start()
        tls = ssl.create_default_context(cafile=node.ca.cert)

        def primary():
            connection = http.client.HTTPSConnection(
                "127.0.0.1", node.rest_port, timeout=10, context=tls)
            with contextlib.closing(connection):
                connection.request("GET", "/primary")
                return connection.getresponse().status == 200

        wait_for("it to lead", primary, 90)
        check_identities(node, OWNER)
        restart_helper(node, "dcs")
        restart_helper(node, "rest")
        start = node.log_end()
        node.signal(signal.SIGHUP)
        wait_for("the reload", lambda: node.logged("can be read by root only", start), 20)
        wait_for("it to lead", primary, 60)
        # the lock is still renewed: a ttl later it leads all the same
        owner, created = node.cluster.leader_key()
        version = int(node.cluster.etcd.get("/service/test/leader")[1]["version"])
        wait_for("writes to the store", lambda: node.logged(
            r"no action. I am \(a\), the leader with the lock", start), 30)
        assert node.cluster.leader_key() == (owner, created) and version >= 1
        assert not node.logged(r"ERROR: .*(secrets|cannot read)")


def test_port_below_1024():
    """The master stays root for it; addresses of both families are served."""
    with root_cluster({"restapi": {"listen": "*:80", "connect_address": "127.0.0.1:80"}}) as node:
        node.rest_port = 80
        node.start()
        wait_for("it to lead", node.is_leader, 90)
        check_identities(node, "root")
        assert node.logged("staying root for restapi.listen")

        def status(host, port, path="/primary", method="GET"):
            connection = http.client.HTTPConnection(host, port, timeout=10)
            with contextlib.closing(connection):
                connection.request(method, path)
                return connection.getresponse().status

        assert status("127.0.0.1", 80) == status("::1", 80) == 200
        restart_helper(node, "rest")
        wait_for("it to be served again", lambda: status("::1", 80) == 200, 30)
        # another address, then a port that is taken: the old one stays
        listen(node, "[::1]:81")
        wait_for("the new address", lambda: status("::1", 81) == 200, 30)
        with pytest.raises(OSError):
            status("127.0.0.1", 81)
        with pytest.raises(OSError):
            status("::1", 80)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 82))
            taken.listen()
            start = node.log_end()
            listen(node, "127.0.0.1:82")
            wait_for("a complaint", lambda: node.logged(
                "Couldn't start a service on '127.0.0.1:82', please check your "
                "`restapi.listen` configuration", start), 20)
            assert status("::1", 81) == 200
        # clients of a dual-stack socket are held against IPv4 networks
        listen(node, "*:83", allowlist=["127.0.0.0/8"])
        wait_for("the list", lambda: status("::1", 83, "/sigterm", "POST") == 403, 30)
        assert status("127.0.0.1", 83, "/sigterm", "POST") == 202
        listen(node, "localhost:84")
        wait_for("a name", lambda: status("localhost", 84) == 200, 30)


def listen(node, address, **restapi):
    node.write_config(extra={"user": NETWORK, "restapi": dict(
        {"listen": address, "connect_address": "127.0.0.1:80"}, **restapi)})
    node.signal(signal.SIGHUP)


@contextlib.contextmanager
def delegated_group():
    """A control group as systemd delegates one to a unit."""
    root = next((line.split()[1] for line in open("/proc/self/mounts", encoding="utf-8")
                 if line.split()[2] == "cgroup2"), None)
    if root is None:
        pytest.skip("no cgroup2")
    group = pathlib.Path(root) / f"patroni-test-{os.getpid()}"
    try:
        group.mkdir()
        os.setxattr(group, "trusted.delegate", b"1")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no group: {error}")
    try:
        if not (group / "cgroup.kill").exists():
            pytest.skip("no cgroup.kill")
        yield group
    finally:
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")

        def removed():
            for child in [*group.glob("*/"), group]:
                child.rmdir()
            return True
        wait_for("the group to be empty", removed, 20)


def test_fence_ends_the_whole_group():
    """What PostgreSQL has started ends with it when the lease runs out."""
    with delegated_group() as group, root_cluster() as node:
        # the archiver's command hangs: it is a grandchild of the postmaster
        script = node.dir / "archive.sh"
        script.write_text(f"#!/bin/sh\n[ -e {node.dir}/hang ] || exit 0\n"
                          f"echo $$ > {node.dir}/archiving\nexec sleep 3600\n")
        script.chmod(0o755)
        command = str(script)
        node.write_config(extra={"user": NETWORK, "bootstrap": {"dcs": {"postgresql": {
            "parameters": {"archive_mode": "on", "archive_command": command}}}}})
        node.prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        node.start()
        wait_for("it to lead", node.is_leader, 90)
        inner = group / "postgresql-test-a"
        members = set((inner / "cgroup.procs").read_text().split())
        assert str(node.postmaster()) in members
        assert not members & {str(p) for p in [node.pid, *node.helpers().values()]}
        # those of a later server, by a later controller, are there as well
        restart_helper(node, "postgres")
        wait_for("it to be restarted", lambda: node.rest(
            "/restart", "POST", {}, timeout=60)[0] == 200, 60)
        (node.dir / "hang").touch()
        node.sql("create table t as select 1")
        node.sql("select pg_switch_wal()")
        archiving = node.dir / "archiving"
        wait_for("the archiver", archiving.exists, 30)
        grandchild = int(wait_for("its pid", archiving.read_text, 10))
        members = {int(p) for p in (inner / "cgroup.procs").read_text().split()}
        assert {node.postmaster(), grandchild} <= members
        start = node.log_end()
        hung = [node.helper("postgres"), node.helper("dcs"), node.pid]
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_for("the fence", lambda: not any(harness.alive(p) for p in members), 60)
        finally:
            for pid in hung:
                harness.kill(pid, signal.SIGCONT)
        assert node.logged("fence|lease", start)


def test_no_group_where_none_was_delegated():
    with root_cluster() as node:
        node.start()
        wait_for("it to lead", node.is_leader, 90)
        assert not node.logged("control group")


def test_acts_of_a_daemon_of_root(monkeypatch):
    """The table of forbidden acts where processes change their user."""
    if not (ACTS / "patroni-watchdog").exists():
        pytest.fail(f"{ACTS} is not built: make ACTS=1 build-acts-programs")
    monkeypatch.setattr(harness, "BUILD", pathlib.Path(ACTS))
    for listen_on in (None, "127.0.0.1:80"):  # the master as the owner, and as root
        extra = {"restapi": {"listen": listen_on, "connect_address": listen_on}} \
            if listen_on else {}
        with root_cluster(extra) as node:
            # setuid back to root is what the change of user is about
            wanted = {p: [*a] for p, a in REFUSED.items()}
            node.environment = {"TEST_PATRONI_ACTS": " ".join(
                f"{p}:{','.join(a)}" for p, a in wanted.items())}
            node.start()
            if listen_on:
                node.rest_port = 80
            wait_for("it to lead", node.is_leader, 90)
            check_identities(node, "root" if listen_on else OWNER)
            for process, names in wanted.items():
                for name in names:
                    assert node.logged(f"act {process}/{name}: refused"), f"{process}/{name}"
            assert not node.logged("ALLOWED")
            assert node.writable()
