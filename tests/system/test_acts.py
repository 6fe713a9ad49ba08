"""Acts that a process must not be able to do (design 2), tried from inside it.

The test build (make ACTS=1) makes every process attempt, right after it has
entered its sandbox, what TEST_PATRONI_ACTS names."""
import pathlib

import pytest

import cluster as harness
from cluster import Cluster, wait_for

ACTS = harness.ROOT / "build-acts"

# Refused with an error; the process goes on.
REFUSED = {
    "master": ["exec", "ptrace", "mount"],
    "dcs": ["fork", "open_write", "listen", "setuid", "kill"],
    "rest": ["fork", "open_write", "open_read", "connect", "listen", "setuid", "kill"],
    "postgres": ["listen", "ptrace", "mount", "setuid"],
    "watchdog": ["fork", "open_write", "open_read", "connect", "listen", "setuid", "kill"],
}
# The process is killed at once: whoever tries this has been taken over.
DEADLY = [(p, a) for p in ("dcs", "rest", "watchdog") for a in ("exec", "ptrace", "mount")]


@pytest.fixture
def acts(monkeypatch):
    if not (ACTS / "patroni-watchdog").exists():
        pytest.fail(f"{ACTS} is not built: make ACTS=1 build-acts-programs")
    monkeypatch.setattr(harness, "BUILD", pathlib.Path(ACTS))


def test_refused(acts):
    wanted = " ".join(f"{p}:{','.join(a)}" for p, a in REFUSED.items())
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        node.environment = {"TEST_PATRONI_ACTS": wanted}
        cluster.start()
        for process, names in REFUSED.items():
            for name in names:
                assert node.logged(f"act {process}/{name}: refused"), f"{process}/{name}"
        assert not node.logged("ALLOWED")
        for process in REFUSED:
            assert node.logged(f"sandbox: {process}: refused system call"), process
        assert node.writable()


def status(pid):
    """The fields of /proc/<pid>/status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_confined_and_locked():
    """Every process has its filter; the keeper does not need the disk to run."""
    with Cluster(1) as cluster:
        node = cluster.start().nodes[0]
        for pid in (node.pid, *node.helpers().values()):
            fields = status(pid)
            assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1"), fields["Name"]
        if "san" in harness.BUILD.name:
            return  # a sanitizer's shadow memory cannot be locked
        locked = int(status(node.helper("watchdog"))["VmLck"].split()[0])
        assert locked > 0
        # what PostgreSQL is started with must not keep it from its own work
        assert status(node.postmaster())["NoNewPrivs"] == "1"
        assert node.writable()


def test_store_client_reads_only_its_files(acts):
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        node.environment = {"TEST_PATRONI_ACTS": "dcs:open_read"}
        cluster.start()
        if node.logged("has no Landlock"):
            pytest.skip("the kernel has no Landlock")
        assert node.logged("act dcs/open_read: refused")


@pytest.mark.parametrize("process,act", DEADLY)
def test_killed(acts, process, act):
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        node.environment = {"TEST_PATRONI_ACTS": f"{process}:{act}"}
        node.start()
        wait_for("the helper to be killed and started again", lambda: node.logged(
            rf"helper {process} \(pid \d+\) was killed by signal 31"), 30)
        assert node.logged(f"act {process}/{act}: attempted")
        assert not node.logged("ALLOWED")
        others = {n: p for n, p in node.helpers().items() if n != process}
        wait_for("a second death", lambda: len(node.logged(
            rf"helper {process} \(pid \d+\) was killed by signal 31")) > 1, 30)
        for name, pid in others.items():
            assert node.helpers().get(name) == pid
        assert node.process.poll() is None
