"""patronictl against a running cluster."""
import json
import subprocess

from cluster import BUILD, wait_for


def ctl(node, *arguments, ok=True):
    run = subprocess.run([str(BUILD / "patronictl"), "-c", str(node.config), *arguments],
                         capture_output=True, text=True, timeout=60)
    if ok:
        assert run.returncode == 0, run.stdout + run.stderr
    return run


def test_list(three):
    leader = three.wait_leader()
    members = json.loads(ctl(leader, "list", "-f", "json").stdout)
    assert sorted(m["Member"] for m in members) == ["a", "b", "c"]
    by_name = {m["Member"]: m for m in members}
    assert by_name[leader.name]["Role"] == "Leader"
    assert {m["Role"] for m in members if m["Member"] != leader.name} == {"Replica"}
    assert all(m["Cluster"] == "test" for m in members)
    pretty = ctl(leader, "list").stdout
    sysid, _ = three.etcd.get("/service/test/initialize")
    assert f"+ Cluster: test ({sysid})" in pretty
    for node in three.nodes:
        assert f"| {node.name} " in pretty


def test_version(three):
    out = ctl(three.nodes[0], "version").stdout
    assert out.startswith("patronictl version ")
    out = ctl(three.nodes[0], "version", "test").stdout
    for node in three.nodes:
        assert f"{node.name}: Patroni " in out


def test_local(three):
    leader = three.wait_leader()
    out = ctl(leader, "local", "processes").stdout
    for name in ("dcs", "rest", "postgres", "watchdog"):
        assert name in out
        assert str(leader.helpers()[name]) in out

    def served():
        table = json.loads(ctl(leader, "local", "processes", "-f", "json").stdout)
        return next(row["loops"] for row in table if row["name"] == "rest")
    # what is shown is what is, not what was told some seconds ago
    for _ in range(3):
        begun = served()
        assert leader.status("/primary") == 200
        assert served() == begun + 1
    before = leader.helpers()["rest"]
    ctl(leader, "local", "restart-helper", "rest")
    wait_for("a new rest helper", lambda: leader.helpers().get("rest") not in (None, before))
    wait_for("its answer", lambda: leader.status("/primary") == 200)


def test_store_out_of_reach(three):
    three.etcd.stop()
    run = ctl(three.nodes[0], "list", ok=False)
    assert run.returncode != 0
    assert run.stderr.strip()
    assert "Traceback" not in run.stderr
    three.etcd.start()
