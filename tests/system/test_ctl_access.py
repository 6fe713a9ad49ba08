"""The control socket: who may use it, and a daemon that does not answer.

The former needs root to become several users (`make check` runs this file as
root when it can)."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from cluster import BUILD, PG_BIN, ROOT, Ports, wait_for

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become other users")

REFUSED = "only root, the owner of the database and its group may use the control socket"


@pytest.fixture(scope="module")
def daemon():
    """A daemon of user postgres that has no store: it waits, and answers."""
    ports = Ports()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    directory.chmod(0o755)
    if os.getuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    config = directory / "patroni.yml"
    rest = ports.take()
    config.write_text(json.dumps({
        "scope": "test", "name": "a", "control_socket": str(directory / "socket"),
        "etcd3": {"hosts": [f"127.0.0.1:{ports.take()}"]},
        "restapi": {"listen": f"127.0.0.1:{rest}", "connect_address": f"127.0.0.1:{rest}"},
        "postgresql": {"listen": f"127.0.0.1:{ports.take()}", "data_dir": str(directory / "data"),
                       "bin_dir": str(PG_BIN),
                       "authentication": {"superuser": {"username": "postgres", "password": "x"},
                                          "replication": {"username": "r", "password": "x"}}}}))
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [ROOT / "tests/tools/as_user.sh", BUILD / "patroni", config], stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for("the control socket", (directory / "socket").exists)
        wait_for("its answer", lambda: local(directory).returncode == 0)
        yield directory, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        ports.close()
        shutil.rmtree(directory)


def local(directory, *before):
    return subprocess.run(
        [*before, BUILD / "patronictl", "-c", directory / "patroni.yml", "local"],
        capture_output=True, text=True, timeout=60, env=dict(os.environ, HOME="/nonexistent"))


def ask(daemon, *user):
    return local(daemon[0], "setpriv", *user)


NOBODY = ("--reuid", "nobody", "--regid", "nogroup", "--clear-groups")


@as_root
def test_owner_root_and_group_may_ask(daemon):
    for who in (("--reuid", "postgres", "--regid", "postgres", "--clear-groups"), (),
                ("--reuid", "nobody", "--regid", "postgres", "--clear-groups"),
                ("--reuid", "nobody", "--regid", "nogroup", "--groups", "postgres")):
        done = ask(daemon, *who)
        assert done.returncode == 0, (who, done.stderr)
        assert "| watchdog " in done.stdout


@as_root
def test_others_are_refused_by_the_mode(daemon):
    assert (daemon[0] / "socket").stat().st_mode & 0o777 == 0o660
    done = ask(daemon, *NOBODY)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"Error: {REFUSED} {daemon[0]}/socket\n"


@as_root
def test_others_are_refused_by_the_daemon(daemon):
    """Even when the file lets them in."""
    (daemon[0] / "socket").chmod(0o666)
    try:
        done = ask(daemon, *NOBODY)
    finally:
        (daemon[0] / "socket").chmod(0o660)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", f"Error: {REFUSED} (status 403)\n")
    # and the daemon goes on answering others
    assert ask(daemon).returncode == 0


def test_daemon_that_hangs(daemon):
    """A word in time, also when not even the backlog takes a connection."""
    directory, process = daemon
    clients = []
    os.kill(process.pid, signal.SIGSTOP)
    try:
        done = local(directory)
        assert done.returncode == 1
        assert done.stderr == "Error: control socket: no answer in time\n"
        for _ in range(10000):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            try:
                client.connect(str(directory / "socket"))
            except BlockingIOError:
                break
        else:
            pytest.fail("the backlog has no end")
        done = local(directory)
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"Error: no answer on the control socket {directory}/socket: Connection timed out\n")
    finally:
        os.kill(process.pid, signal.SIGCONT)
        for client in clients:
            client.close()
    wait_for("its answer", lambda: local(directory).returncode == 0)
