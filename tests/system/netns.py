"""Hosts in network namespaces, whose links can be cut one way at a time.

Needs root.  Every host has one interface on a bridge; the bridge lives in a
namespace of its own, which the test enters, so that it reaches every host
whatever is cut between them.  Addresses are resolved by permanent neighbour
entries alone: a link is cut by an entry that names a hardware address nobody
has, which loses packets silently, in one direction, on open connections too,
and needs nothing of the kernel but bridge and veth.
"""
import ctypes
import os
import pathlib
import shutil
import subprocess
import tempfile

import stores
from cluster import Cluster, Node, Ports, kill, merge, wait_for

CLONE_NEWNET = 0x40000000
NOBODY = "02:00:00:00:ff:ff"


def possible():
    """None, or why such networks cannot be made here."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    probe = subprocess.run(
        ["unshare", "--net", "sh", "-c",
         "ip link add name hub type bridge && ip link add name h1 type veth peer name h2"],
        capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"no network namespaces: {probe.stderr.strip()}"


def enter(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """A network namespace kept by a process that does nothing else."""

    def __init__(self):
        self.keeper = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.path = f"/proc/{self.keeper.pid}/ns/net"
        own = os.readlink("/proc/self/ns/net")
        wait_for("a network namespace", lambda: os.readlink(self.path) != own, 10)

    def run(self, *command):
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True,
                       stdin=subprocess.DEVNULL)

    def close(self):
        kill(self.keeper.pid, 9)
        self.keeper.wait()


class Network:
    """Hosts by number, 1 and up; 254 is the test itself."""

    def __init__(self, hosts):
        self.hub = Namespace()
        self.hosts = {n: Namespace() for n in range(1, hosts + 1)}
        self.cuts = set()
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.hub.run("ip", "link", "add", "name", "hub", "type", "bridge")
        self.hub.run("ip", "link", "set", "hub", "address", self.mac(254), "up")
        self.hub.run("ip", "address", "add", self.address(254) + "/24", "dev", "hub")
        for n, host in self.hosts.items():
            self.hub.run("ip", "link", "add", "name", f"h{n}", "type", "veth", "peer", "name",
                         "eth0", "netns", str(host.keeper.pid))
            self.hub.run("ip", "link", "set", f"h{n}", "master", "hub", "up")
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "link", "set", "eth0", "address", self.mac(n), "arp", "off", "up")
            host.run("ip", "address", "add", self.address(n) + "/24", "dev", "eth0")
        for n, host in self.hosts.items():
            for peer in [*self.hosts, 254]:
                if peer != n:
                    self.neighbour(host, "eth0", peer, self.mac(peer))
            self.neighbour(self.hub, "hub", n, self.mac(n))
        with open(self.hub.path, encoding="ascii") as hub:
            enter(hub.fileno())

    @staticmethod
    def address(n):
        return f"10.99.7.{n}"

    @staticmethod
    def mac(n):
        return f"02:00:00:00:00:{n:02x}"

    def neighbour(self, host, device, n, mac):
        host.run("ip", "neighbour", "replace", self.address(n), "lladdr", mac,
                 "nud", "permanent", "dev", device)

    def cut(self, links):
        """Exactly these (from, to) pairs lose everything from now on."""
        links = set(links)
        for source, target in links - self.cuts:
            self.neighbour(self.hosts[source], "eth0", target, NOBODY)
        for source, target in self.cuts - links:
            self.neighbour(self.hosts[source], "eth0", target, self.mac(target))
        self.cuts = links

    def heal(self):
        self.cut(())

    def close(self):
        enter(self.home)
        os.close(self.home)
        for host in self.hosts.values():
            host.close()
        self.hub.close()


class PlacedCluster(Cluster):
    """A cluster whose nodes are hosts 1 to n and whose store is the next one;
    everything in it runs as an unprivileged user."""

    def __init__(self, nodes=3, dcs=None, extra=None, user="postgres"):
        self.scope = "test"
        self.user = user
        self.network = Network(nodes + 1)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
        shutil.chown(self.dir, user, user)
        self.ports = Ports()
        self.dcs = dcs or {}
        self.store = nodes + 1
        self.etcd = self.placed(stores.Etcd3, self.store)(self.dir, self.ports)
        self.nodes = []
        subnet = f"{self.network.address(0)}/24"
        hba = {"postgresql": {"pg_hba": ["local all all trust", f"host all all {subnet} trust",
                                         f"host replication all {subnet} trust"]}}
        merge(hba, extra or {})
        for n in range(1, nodes + 1):
            node = self.placed(Node, n)(self, chr(ord("a") + n - 1), None, hba)
            shutil.chown(node.dir, user, user)
            node.environment = {"HOME": str(self.dir), "USER": user, "LOGNAME": user}
            self.nodes.append(node)

    def placed(self, cls, n):
        """A store or a node on a host of the network."""
        prefix = ("nsenter", f"--net={self.network.hosts[n].path}", "setpriv", "--reuid",
                  self.user, "--regid", self.user, "--init-groups")
        return type(cls.__name__, (cls,), {
            "number": n, "host": self.network.address(n), "prefix": prefix})

    def __exit__(self, *why):
        try:
            super().__exit__(*why)
        finally:
            self.network.close()
