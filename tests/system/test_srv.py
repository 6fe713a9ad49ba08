"""Endpoints of etcd from DNS SRV records, asked of a real name server.

The resolver of the system answers at port 53 alone, so all of it runs in a
network and mount namespace of its own: this file, run as a program there,
starts dnsmasq, etcd and a client of the store.
"""
import contextlib
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from basics import ROOT, wait_for

DOMAIN = "etcd.test"
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "--mount"]


def possible():
    return shutil.which("dnsmasq", path="/usr/sbin:/usr/bin") and subprocess.run(
        [*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not possible(), reason="needs dnsmasq and user namespaces")
@pytest.mark.parametrize("case", [
    "etcd3-client", "etcd-client", "etcd3-plain", "etcd3-suffix", "etcd3-server", "etcd3-later",
    "etcd3-none", "etcd-suffix"])
def test_srv(case):
    done = subprocess.run(
        [*NAMESPACES, sys.executable, __file__, *case.split("-")], cwd=ROOT / "tests/system",
        capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class NameServer:
    """dnsmasq for one domain, and a resolver configuration that names it."""

    def __init__(self, directory, records):
        self.directory = directory
        self.records = records
        self.process = None
        resolv = directory / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
        subprocess.run(["mount", "--bind", str(resolv), "/etc/resolv.conf"], check=True)

    def start(self):
        self.process = subprocess.Popen(
            [shutil.which("dnsmasq", path="/usr/sbin:/usr/bin"), "--no-daemon",
             "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
             "--listen-address=127.0.0.1", "--bind-interfaces",
             f"--pid-file={self.directory}/dnsmasq.pid", f"--local=/{DOMAIN}/",
             f"--address=/host.{DOMAIN}/127.0.0.1", *self.records])

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def run(section, case):
    assert section in ("etcd", "etcd3")
    from agent import Agent
    import stores
    from basics import Ports
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    store = stores.new(section, directory, ports)
    service, port, options = "-client", store.client, {}
    if case == "plain":
        service = ""
    elif case == "suffix":
        service, options = "-client-blue", {"srv_suffix": "blue"}
    elif case == "server":
        service, port = "-server", store.peer
    record = f"--srv-host=_etcd{service}._tcp.{DOMAIN},host.{DOMAIN},{port}"
    names = NameServer(directory, [record] if case != "none" else [])
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(ports.close)
        stack.callback(names.stop)
        stack.callback(store.close)
        store.start()
        if case != "later":
            names.start()
        key = {"plain": "discovery_srv", "server": "srv_domain"}.get(case, "srv")
        a = stack.enter_context(Agent(store, "a", section={key: DOMAIN, **options}))
        if case in ("none", "later"):
            assert a.call("load", ms=2000)["outcome"] == "failed"
            assert a.call("acquire", ms=2000)["outcome"] in ("failed", "unknown")
        if case == "none":
            wait_for("a warning", lambda: f"Can not resolve SRV for {DOMAIN}" in a.stderr(), 20)
            return
        if case == "later":
            names.start()
        wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
        a.does("acquire")
        assert store.get("/service/test/leader")[0] == "a"
        # the server that the name stands for goes and comes back
        store.stop(signal.SIGKILL)
        assert a.call("update", ms=2000)["outcome"] in ("failed", "unknown")
        store.start()
        a.does("update", ms=10000)


if __name__ == "__main__":
    run(*sys.argv[1:])
