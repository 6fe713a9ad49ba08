"""The distribution's ZooKeeper, one server or an ensemble, on loopback.

Run from the package's jars as whoever runs the tests, with a configuration of
its own; the tests look into it by python3-kazoo, another client than ours.
"""
import contextlib
import socket
import struct
import subprocess
from signal import SIGCONT, SIGKILL

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from basics import kill, wait_for
from doubles.exhibitor import Exhibitor
from stores import Store

JAVA = ["java", "-Xms32m", "-Xmx96m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData", "-Dzookeeper.forceSync=no", "-Djava.net.preferIPv4Stack=false",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp", "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"]
TICK = 500  # ms; sessions from 2 to 60 ticks
OPS = {1: "create", 2: "delete", 3: "exists", 4: "getData", 5: "setData", 8: "getChildren",
       9: "sync", 11: "ping", 14: "multi", 100: "auth", 101: "setWatches", 105: "setWatches2",
       -11: "closeSession"}
HAS_PATH = (1, 2, 3, 4, 5, 8, 9)


class Frames:
    """What a client sends, in whole requests (see Relay)."""

    def __init__(self):
        self.rest = b""
        self.first = True

    def feed(self, data):
        """("setData /service/test/sync; ping", the requests themselves)"""
        self.rest += data
        found, at = [], 0
        while at + 4 <= len(self.rest):
            length, = struct.unpack_from(">i", self.rest, at)
            if at + 4 + length > len(self.rest):
                break
            found.append(self.text(self.rest[at + 4:at + 4 + length]))
            at += 4 + length
        whole, self.rest = self.rest[:at], self.rest[at:]
        return "; ".join(found) or None, whole

    def text(self, body):
        if self.first:
            self.first = False
            return "connect"
        op, = struct.unpack_from(">i", body, 4)
        text = OPS.get(op, str(op))
        if op in HAS_PATH:
            size, = struct.unpack_from(">i", body, 8)
            text += " " + body[12:12 + size].decode(errors="replace")
        elif op == 14:
            text += " " + repr(body[8:])
        return text


class Server:
    """One process of an ensemble."""

    def __init__(self, directory, ports, number, address="127.0.0.1"):
        self.address = address
        self.dir = directory / f"zookeeper{number}"
        self.number = number
        self.client, self.peer, self.election = (ports.take() for _ in range(3))
        self.process = None

    def line(self):
        return f"server.{self.number}=127.0.0.1:{self.peer}:{self.election}"

    def write_config(self, ensemble, extra):
        self.dir.mkdir(exist_ok=True)
        (self.dir / "myid").write_text(f"{self.number}\n")
        lines = [f"tickTime={TICK}", "initLimit=20", "syncLimit=4", f"dataDir={self.dir}",
                 f"clientPort={self.client}", f"clientPortAddress={self.address}",
                 "maxSessionTimeout=60000", "maxClientCnxns=0", "admin.enableServer=false",
                 "4lw.commands.whitelist=*", "standaloneEnabled=true", *extra]
        if ensemble:
            lines += [s.line() for s in ensemble]
        (self.dir / "zoo.cfg").write_text("\n".join(lines) + "\n")

    def start(self):
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*JAVA, "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                 str(self.dir / "zoo.cfg")],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir,
                start_new_session=True)

    def stop(self, sig=SIGKILL):
        if self.process is None:
            return
        kill(self.process.pid, SIGCONT)
        kill(self.process.pid, sig)
        self.process.wait()
        self.process = None

    def ask(self, word):
        with contextlib.closing(socket.create_connection((self.address, self.client), 2)) as s:
            s.sendall(word.encode())
            text = b""
            while True:
                data = s.recv(65536)
                if not data:
                    return text.decode()
                text += data

    def mode(self):
        """standalone, leader, follower, or None while it serves nobody."""
        for line in self.ask("srvr").splitlines():
            if line.startswith("Mode: "):
                return line[6:]
        return None


class ZooKeeper(Store):
    section = "zookeeper"
    # a takeover is a deletion and a creation in one transaction
    keeps_entry = False
    lock_request = r"create .*/leader|multi|sync /"
    write_request = r"(setData|create) .*/failover"
    sync_request = r"(setData|create) .*/sync"
    describe = Frames

    def prepare(self):
        count = self.options.get("servers", 1)
        self.servers = [Server(self.directory, self.ports, i + 1,
                               self.options.get("address", "127.0.0.1")) for i in range(count)]
        self.servers[0].client = self.client
        for s in self.servers:
            s.write_config(self.servers if count > 1 else None, self.options.get("lines", ()))
        self.kazoo = None

    @property
    def process(self):
        return self.servers[0].process if hasattr(self, "servers") else None

    @process.setter
    def process(self, value):
        """The servers have their own."""

    def start(self):
        if self.relay:
            self.relay.start()
        for s in self.servers:
            if s.process is None:
                s.start()
        wait_for("ZooKeeper", self.ready, 60)

    def ready(self):
        modes = [s.mode() for s in self.servers]
        return all(modes) and (len(modes) == 1 or "leader" in modes)

    def signal(self, sig):
        for s in self.servers:
            kill(s.process.pid, sig)

    def stop(self, sig=SIGKILL):
        for s in self.servers:
            s.stop(sig)

    def close(self):
        if self.kazoo is not None:
            self.kazoo.stop()
            self.kazoo.close()
            self.kazoo = None
        super().close()

    def leader(self):
        return next(s for s in self.servers if s.process and s.mode() == "leader")

    def hosts(self):
        if self.relay:
            return [f"127.0.0.1:{self.relay.port}"]
        return [f"127.0.0.1:{s.client}" for s in self.servers]

    def config(self, scope="test"):
        return {"hosts": self.hosts()}

    def expiry(self, ttl):
        return ttl + TICK / 1000 + 3

    # -- past the driver

    def client_of(self):
        if self.kazoo is None:
            self.kazoo = KazooClient(
                ",".join(f"127.0.0.1:{s.client}" for s in self.servers), timeout=10,
                connection_retry={"max_tries": -1, "max_delay": 1},
                command_retry={"max_tries": -1, "max_delay": 1}, **self.options.get("kazoo", {}))
            self.kazoo.start(30)
        return self.kazoo

    def get(self, path):
        try:
            value, stat = self.client_of().retry(self.client_of().get, path)
        except NoNodeError:
            return None, None
        return value.decode(), stat

    def put(self, path, value):
        client = self.client_of()
        if client.retry(client.exists, path):
            client.retry(client.set, path, value.encode())
        else:
            client.retry(client.create, path, value.encode(), makepath=True)

    def delete(self, path):
        client = self.client_of()
        with contextlib.suppress(NoNodeError):
            client.retry(client.delete, path, recursive=True)

    @staticmethod
    def created(entry):
        return entry.czxid


class Exhibited(ZooKeeper):
    """The same, found by asking Exhibitor."""

    section = "exhibitor"

    def prepare(self):
        super().prepare()
        self.exhibitor = Exhibitor(self.ports.take(), ["127.0.0.1"], self.port)

    def start(self):
        super().start()
        if self.exhibitor.http is None:
            self.exhibitor.start()

    def close(self):
        self.exhibitor.stop()
        super().close()

    def config(self, scope="test"):
        return {"hosts": ["127.0.0.1"], "port": self.exhibitor.port, "poll_interval": 1}
