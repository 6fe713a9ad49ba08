"""The stores that a cluster or the conformance suite can stand on.

Each is a class with the same face: a section of the configuration, start,
stop (kill -9), restart, signals, and a view past the drivers into what is
stored.  STORES names them all; new("etcd3", directory, ports) makes one.

    section     name of the configuration section
    config()    what belongs into that section
    get(path)   (value, entry) of "/service/test/leader", or (None, None)
    put(path, value), delete(path)
    created(entry)  a number that changes when the key is made anew
    expiry(ttl) seconds after which a dead client's lock is surely gone
    min_ttl     the least ttl that the server honours
    relay       when made with relay=True: the drivers are told its port
    lock_request, write_request, sync_request
                patterns of those requests (see relay.py)
"""
import base64
import importlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from signal import SIGCONT, SIGKILL

from basics import kill, wait_for
from relay import Relay, describe_http


DOUBLES = pathlib.Path(__file__).parent / "doubles"


class Store:
    """One server process; a subclass says how it is started and asked."""

    section = None
    host = "127.0.0.1"
    prefix = ()  # of the command: what puts it elsewhere
    min_ttl = 2
    lock_request = write_request = sync_request = None
    keeps_entry = True  # a takeover leaves the key that is there
    suppresses_touch = True  # an unchanged member key is not written
    persistent = True  # keys outlive a restart of the server
    describe = staticmethod(describe_http)  # of a request, for the relay

    def __init__(self, directory, ports, relay=False, **options):
        self.directory = directory
        self.ports = ports
        self.options = options
        self.client = ports.take()
        self.log = directory / f"{self.section}.log"
        self.process = None
        self.relay = Relay(ports.take(), self.client, self.describe) if relay else None
        self.prepare()

    @property
    def port(self):
        """The port that the drivers are told."""
        return self.relay.port if self.relay else self.client

    @property
    def url(self):
        return f"http://{self.host}:{self.client}"

    def prepare(self):
        """Ports and files that have to be there before the first start."""

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    tls_context = None  # of the tests' own requests
    members_expire = True  # with their process (a pod does not)

    def config(self, scope="test"):
        raise NotImplementedError

    def node_config(self, scope="test"):
        """config() of the daemon's file."""
        return self.config(scope)

    def node_environment(self):
        return {}

    def member(self, scope, name):
        """What has to be there before a member of that name starts."""

    def expiry(self, ttl):
        return ttl + 3

    def start(self):
        if self.relay:
            self.relay.start()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.command()], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, env=self.environment())
        wait_for(self.section, self.ready, 30)

    def environment(self):
        return None

    def signal(self, sig):
        os.kill(self.process.pid, sig)

    def stop(self, sig=SIGKILL):
        if self.process is None:
            return
        kill(self.process.pid, SIGCONT)
        kill(self.process.pid, sig)
        self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        self.stop()
        if self.relay:
            self.relay.close()

    def http(self, path, method="GET", body=None, headers=None):
        """(status, text) past the driver."""
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5, context=self.tls_context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


class EtcdServer(Store):
    """One real etcd; its clients are told the relay's address when there is one."""

    def prepare(self):
        self.dir = self.directory / "etcd"
        self.peer = self.ports.take()

    def command(self):
        peer = f"http://{self.host}:{self.peer}"
        return ["etcd", "--name", "e", "--data-dir", str(self.dir),
                "--listen-client-urls", self.url,
                "--advertise-client-urls", f"http://{self.host}:{self.port}",
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", f"e={peer}", "--log-level", "error",
                "--unsafe-no-fsync", *self.options.get("arguments", ())]

    def ready(self):
        return self.call("/v3/maintenance/status", {})

    def config(self, scope="test"):
        return {"hosts": [f"{self.host}:{self.port}"]}

    def call(self, path, body):
        status, text = self.http(path, "POST", json.dumps(body).encode(),
                                 {"Content-Type": "application/json"})
        if status != 200:
            raise ValueError(text)
        return json.loads(text)

    def metrics(self):
        return self.http("/metrics")[1]


class Etcd3(EtcdServer):
    section = "etcd3"
    lock_request = r"/kv/txn|/lease/keepalive"
    write_request = r"/kv/put"
    sync_request = r"/kv/txn"

    @staticmethod
    def key(path):
        return base64.b64encode(path.encode()).decode()

    def get(self, path):
        reply = self.call("/v3/kv/range", {"key": self.key(path)})
        if not reply.get("kvs"):
            return None, None
        kv = reply["kvs"][0]
        return base64.b64decode(kv.get("value", "")).decode(), kv

    def put(self, path, value):
        self.call("/v3/kv/put", {"key": self.key(path), "value": self.key(value)})

    def delete(self, path):
        self.call("/v3/kv/deleterange", {"key": self.key(path)})

    @staticmethod
    def created(entry):
        return int(entry["create_revision"])


class Etcd2(EtcdServer):
    """The keys API of v2, which the real server has when told so."""

    section = "etcd"
    lock_request = r"PUT .*/leader"
    write_request = r"PUT .*/failover"
    sync_request = r"PUT .*/sync"
    suppresses_touch = False

    def command(self):
        return [*super().command(), "--enable-v2"]

    def keys(self, path, method="GET", body=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        status, text = self.http("/v2/keys" + urllib.parse.quote(path), method, body, headers)
        document = json.loads(text)
        if status == 404 and document.get("errorCode") == 100:
            return None
        if status not in (200, 201):
            raise ValueError(text)
        return document["node"]

    def get(self, path):
        node = self.keys(path)
        return (node["value"], node) if node else (None, None)

    def put(self, path, value):
        self.keys(path, "PUT", urllib.parse.urlencode({"value": value}).encode())

    def delete(self, path):
        self.keys(path, "DELETE")

    @staticmethod
    def created(entry):
        return entry["createdIndex"]


class Consul(Store):
    """The double of an agent: doubles/consul.py says what it enforces."""

    section = "consul"
    lock_request = r"PUT .*/leader\?acquire="
    write_request = r"PUT .*/failover"
    sync_request = r"PUT .*/sync"

    def command(self):
        return [sys.executable, str(DOUBLES / "consul.py"), "--port", str(self.client),
                "--data", str(self.directory / "consul.json"), "--session-ttl-min", "1s",
                *self.options.get("arguments", ())]

    def ready(self):
        return self.http("/v1/agent/self")[0] in (200, 403)

    def config(self, scope="test"):
        return {"host": f"{self.host}:{self.port}"}

    def kv(self, path):
        return "/v1/kv" + urllib.parse.quote(path)

    def get(self, path):
        status, text = self.http(self.kv(path))
        if status == 404:
            return None, None
        if status != 200:
            raise ValueError(text)
        entry = json.loads(text)[0]
        return base64.b64decode(entry["Value"] or "").decode(), entry

    def put(self, path, value):
        assert self.http(self.kv(path), "PUT", value.encode())[0] == 200

    def delete(self, path):
        assert self.http(self.kv(path), "DELETE")[0] == 200

    @staticmethod
    def created(entry):
        return entry["CreateIndex"]


STORES = {c.section: c for c in (Consul, Etcd2, Etcd3)}
# in modules of their own, loaded when they are named
MODULES = {"zookeeper": ("zookeeper", "ZooKeeper"), "exhibitor": ("zookeeper", "Exhibited"),
           "kubernetes": ("kubernetes", "Kubernetes"),
           "kubernetes-endpoints": ("kubernetes", "KubernetesEndpoints")}


def new(name, directory, ports, **options):
    if name in MODULES:
        module, made = MODULES[name]
        return getattr(importlib.import_module(module), made)(directory, ports, **options)
    return STORES[name](directory, ports, **options)
