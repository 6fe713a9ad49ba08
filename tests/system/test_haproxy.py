"""HAProxy before three nodes: its checks follow a switchover and a failover.

The configuration is rest/haproxy.cfg.example with the addresses of the test
put in; every kind of check (method and path) has a port of its own, first over
http, then, after a reload of all nodes, over https with client certificates.
"""
import contextlib
import csv
import http.client
import io
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess

import psycopg2
import pytest

from cluster import ROOT, Cluster, kill, wait_for
from tls import Authority

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
TIMING = {"ttl": 20, "loop_wait": 2, "retry_timeout": 3}
CHECKS = {"primary": "OPTIONS /primary", "replicas": "HEAD /replica?lag=10MB",
          "default": None, "get": "GET /read-write", "head": "HEAD /leader",
          "options": "OPTIONS /async", "get_replica": "GET /replica"}
FOLLOW_LEADER = ("primary", "default", "get", "head")
FOLLOW_REPLICAS = ("replicas", "options", "get_replica")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


def example():
    """The example's sections without its servers and ports."""
    text = (ROOT / "rest" / "haproxy.cfg.example").read_text()
    assert all(f"option httpchk {check}" in text for check in (
        CHECKS["primary"], CHECKS["replicas"]))
    head = text[:text.index("listen primary")]
    servers = re.search(r"default-server (inter .*)", text).group(1)
    return head, servers.replace("inter 3s", "inter 200ms")


class Proxy:
    def __init__(self, cluster, ca=None, client=None):
        self.dir = cluster.dir / ("haproxy-tls" if ca else "haproxy")
        self.dir.mkdir()
        self.ports = {name: cluster.ports.take() for name in CHECKS}
        self.socket = self.dir / "stats"
        head, servers = example()
        lines = [head, f"global\n\tstats socket {self.socket}\n"]
        for name, check in CHECKS.items():
            lines.append(f"listen {name}\n\tbind 127.0.0.1:{self.ports[name]}\n"
                         f"\toption httpchk {check or ''}\n\thttp-check expect status 200\n"
                         f"\tdefault-server {servers}\n")
            if ca:
                lines.append(f"\tdefault-server check-ssl verify required ca-file {ca} "
                             f"crt {client}\n")
            lines += [f"\tserver {n.name} 127.0.0.1:{n.pg_port} maxconn 100 check "
                      f"port {n.rest_port}\n" for n in cluster.nodes]
        self.config = self.dir / "haproxy.cfg"
        self.config.write_text("".join(lines))
        subprocess.run([HAPROXY, "-c", "-f", str(self.config)], check=True, capture_output=True)
        self.log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(self.config)],
                                        stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)

    def close(self):
        kill(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.log.close()

    def up(self):
        """{listener: set of servers that are up}"""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
            s.connect(str(self.socket))
            s.sendall(b"show stat\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        found = {name: set() for name in CHECKS}
        for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
            if row["svname"] not in ("FRONTEND", "BACKEND") and row["status"].startswith("UP"):
                found[row["pxname"]].add(row["svname"])
        return found

    def sql(self, name, text):
        with contextlib.closing(psycopg2.connect(
                host="127.0.0.1", port=self.ports[name], user="postgres", dbname="postgres",
                connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchone()[0] if cursor.description else None

    def follows(self, cluster, leader):
        replicas = {n.name for n in cluster.running() if n is not leader}
        want = {name: {leader.name} for name in FOLLOW_LEADER}
        want.update({name: replicas for name in FOLLOW_REPLICAS})
        assert set(want) == set(CHECKS)
        wait_for(f"HAProxy to see {want}", lambda: self.up() == want or print(self.up()), 60)
        for name in FOLLOW_LEADER:
            assert self.sql(name, "show port") == str(leader.pg_port)
        assert self.sql("primary", "select pg_is_in_recovery()") is False
        for name in FOLLOW_REPLICAS:
            assert self.sql(name, "select pg_is_in_recovery()") is True


def test_haproxy_follows():
    with Cluster(3, dcs=TIMING) as cluster:
        leader = cluster.start().wait_leader()
        with contextlib.closing(Proxy(cluster)) as proxy:
            proxy.follows(cluster, leader)
            target = next(n for n in cluster.nodes if n is not leader)
            status, text = leader.rest("/switchover", "POST", {
                "leader": leader.name, "candidate": target.name}, timeout=60)
            assert status == 200, text
            cluster.wait_healthy()
            proxy.follows(cluster, target)
            proxy.sql("primary", "create table through (i int)")
            # replication is asynchronous: the failover is to be without loss
            for node in (n for n in cluster.nodes if n is not target):
                wait_for("the table on a standby", lambda node=node: node.sql(
                    "select 1 from pg_class where relname = 'through'"))
            target.kill_tree()
            new = cluster.wait_leader(other_than=target)
            proxy.follows(cluster, new)
            proxy.sql("primary", "insert into through values (1)")
            target.start()
            cluster.wait_healthy()
            proxy.follows(cluster, new)
        https(cluster, new)


def https(cluster, leader):
    """The same nodes after a reload with certificates, which checks need too."""
    ca = Authority(cluster.dir)
    cert, key = ca.issue("server")
    mine = pathlib.Path(ca.path("haproxy.pem"))
    mine.write_text("".join(pathlib.Path(f).read_text() for f in ca.issue("haproxy")))
    members = {"certfile": cert, "keyfile": key, "cafile": ca.cert, "verify_client": "required"}
    for node in cluster.nodes:
        node.write_config(extra={"restapi": members, "ctl": {"certfile": cert, "keyfile": key}})
        node.signal(signal.SIGHUP)
    client = ssl.create_default_context(cafile=ca.cert)
    client.load_cert_chain(mine)
    with contextlib.closing(Proxy(cluster, ca.cert, mine)) as proxy:
        proxy.follows(cluster, leader)
        # members find each other at their new https addresses
        for node in cluster.nodes:
            wait_for("its address", lambda node=node: '"api_url":"https://' in (
                cluster.etcd.get(f"/service/test/members/{node.name}")[0] or ""), 20)
        target = next(n for n in cluster.nodes if n is not leader)
        switch_over(leader, target, client)
        wait_leads(cluster, target)
        proxy.follows(cluster, target)
        target.kill_tree()
        others = {n.name for n in cluster.running()}

        def new_leader():
            up = proxy.up()
            return len(up["primary"]) == 1 and up["primary"] <= others and up["primary"]
        name = wait_for("a failover", new_leader, 60).copy().pop()
        wait_leads(cluster, cluster[name])
        proxy.follows(cluster, cluster[name])


def switch_over(leader, target, context):
    connection = http.client.HTTPSConnection(
        "127.0.0.1", leader.rest_port, timeout=60, context=context)
    with contextlib.closing(connection):
        connection.request("POST", "/switchover", json.dumps(
            {"leader": leader.name, "candidate": target.name}))
        answer = connection.getresponse()
        assert (answer.status, answer.read().decode()) == (
            200, f'Successfully switched over to "{target.name}"')


def wait_leads(cluster, node):
    """Writable, and every other running node streams from it (by SQL alone)."""
    others = {n.name for n in cluster.running() if n is not node}
    wait_for(f"{node.name} to be followed", lambda: node.writable() and {r[0] for r in node.sql(
        "select application_name from pg_stat_replication where state = 'streaming'")} == others,
             90)
