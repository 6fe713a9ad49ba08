"""patronictl on every store: the same views give the same output, to the byte,
and its writes arrive."""
import json
import os
import re
import subprocess

import pytest

from basics import Ports
from cluster import BUILD
from ctl_stage import CITUS, GOLDEN, VIEWS
from stores import MODULES, STORES, new

SHOWN = ("orders", "busy", "rubbish")


def golden(command, config=None):
    """The output of a command line in its golden text."""
    head = f"==== {' '.join(command)}" + (f"  # with {json.dumps(config)}" if config else "")
    text = (GOLDEN / f"{command[0]}.txt").read_text()
    return text.split(head + "\n")[1].split("\n---- ")[0] + "\n"


def check_groups(run, store):
    # all groups, and one
    assert run("topology", "shard", config=CITUS).stdout == golden(("topology", "shard"), CITUS)
    assert run("list", "shard", "--group", "1", "-f", "json").stdout == golden(
        ("list", "shard", "--group", "1", "-f", "json"))
    assert run("edit-config", "shard", "--group", "10", "-s", "ttl=44",
               "--force").returncode == 0
    assert json.loads(store.get("/service/shard/10/config")[0])["ttl"] == 44
    done = run("remove", "shard", "--group", "1", text="shard\nYes I am aware\nw0\n")
    assert done.returncode == 0, done.stderr
    rows = json.loads(run("list", "shard", "-f", "json", config=CITUS).stdout)
    assert {r["Group"] for r in rows} == {0, 10}


@pytest.mark.parametrize("name", sorted({*STORES, *MODULES}))
def test_ctl_on_store(name, tmp_path):
    ports = Ports()
    store = new(name, tmp_path, ports)
    path = tmp_path / "ctl.yml"
    # Kubernetes keeps objects, not keys below a path: there is no rubbish in them
    # (nor are groups seen), and no URL says where its server is
    paths = not name.startswith("kubernetes")
    shown = SHOWN if paths else SHOWN[:2]

    def section(scope):
        return store.config() if paths else store.node_config(scope)

    def run(*arguments, config=None, text=None, url=None):
        path.write_text(json.dumps({**({} if url else {store.section: section(arguments[1])}),
                                    **(config or {})}))
        return subprocess.run(
            [BUILD / "patronictl", "-c", path, *(["-d", url] if url else []), *arguments],
            capture_output=True, text=True, input=text, timeout=60,
            env=environment)

    def put(cluster, key, value):
        if paths or not key.startswith("members/"):
            store.put(f"/service/{cluster}/{key}", value)
            return
        member = key.split("/")[1]  # its pod
        store.member(cluster, member)
        store.patch(f"/api/v1/namespaces/{cluster}/pods/{member}", {"status": value})

    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    try:
        store.start()
        environment.update(store.node_environment() or {})
        for cluster in (*shown, *(c for c in VIEWS if paths and c.startswith("shard/"))):
            for key, value in VIEWS[cluster].items():
                put(cluster, key, value)
        for command in [("list", c, "-f", f) for c in shown for f in ("pretty", "json")] + [
                ("topology", "orders"), ("history", "orders", "-f", "yaml"),
                ("show-config", "orders"), ("list", "nosuch", "-f", "pretty")]:
            done = run(*command)
            assert done.returncode == 0, done.stderr
            assert done.stdout == golden(command)
        # writes: the configuration under compare-and-set, the switchover key
        assert "Configuration changed" in run("edit-config", "orders", "-s", "ttl=77",
                                              "--force").stdout
        assert json.loads(store.get("/service/orders/config")[0])["ttl"] == 77
        editor = tmp_path / "editor"
        editor.write_text(f"#!/bin/sh\n{BUILD}/patronictl -c {path} edit-config orders -q "
                          "-s ttl=66 --force && sed -i s/77/55/ \"$1\"\n")
        editor.chmod(0o755)
        done = subprocess.run(
            [BUILD / "patronictl", "-c", path, "edit-config", "orders", "--force"],
            capture_output=True, text=True, timeout=60,
            env={**environment, "EDITOR": str(editor)})
        assert done.stderr == "Error: Config modification aborted due to concurrent changes\n"
        assert json.loads(store.get("/service/orders/config")[0])["ttl"] == 66
        # nobody answers at the members' addresses: the key is written instead
        done = run("switchover", "orders", "--candidate", "db2", "--force")
        assert "Could not switchover using Patroni api, falling back to DCS" in done.stdout
        assert json.loads(store.get("/service/orders/failover")[0]) == {
            "leader": "db1", "member": "db2"}
        if paths:
            port = store.config().get("port", store.port)
            url = f"{store.section}://127.0.0.1:{port}/service"
            assert run("dsn", "busy", url=url).stdout == "host=10.1.0.11 port=5432\n"
            check_groups(run, store)
        else:
            assert run("list", "orders", "--group", "0").stderr == (
                "Error: Groups of a Citus cluster cannot be read from Kubernetes\n")
        # what is removed, and what is not
        assert run("remove", "orders", text="orders\nYes I am aware\ndb1\n").returncode == 0
        assert store.get("/service/orders/leader")[0] is None
        assert run("list", "busy", "-f", "json").stdout == golden(("list", "busy", "-f", "json"))
        # out of reach: a word about it, within the time that it may take
        store.stop()
        done = run("list", "busy")
        assert done.returncode == 1 and re.search(r"^Error: .+", done.stderr, re.M)
    finally:
        store.close()
        ports.close()
