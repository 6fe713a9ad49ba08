"""Every command of patronictl against one running cluster of three nodes.

The tests share the cluster, so each leaves it healthy."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from cluster import BUILD, Cluster, wait_for

TIMESTAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture(scope="module")
def shared():
    with Cluster(3, dcs={"loop_wait": 2, "ttl": 20}) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def healthy(shared):
    shared.wait_healthy()
    wait_for("a member key of every node", lambda: len(members(shared)) == 3)
    return shared


def run(cluster, *arguments, text=None, env=None, node="a"):
    return subprocess.run(
        [str(BUILD / "patronictl"), "-c", str(cluster[node].config), *arguments],
        capture_output=True, text=True, timeout=120, input=text,
        env=dict(os.environ, **(env or {})))


def ctl(cluster, *arguments, **options):
    """Standard output of a command that must succeed."""
    done = run(cluster, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(cluster, *arguments, **options):
    """Message of a command that must fail with Error: and code 1."""
    done = run(cluster, *arguments, **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    match = re.search(r"^Error: (.*)", done.stderr, re.M | re.S)
    assert match or "Aborted!" in done.stderr, done.stderr
    return match.group(1).rstrip("\n") if match else "Aborted!"


def members(cluster):
    return json.loads(ctl(cluster, "list", "-f", "json"))


def names(cluster):
    """(leader, [replicas])"""
    leader = cluster.wait_leader().name
    return leader, [n.name for n in cluster.nodes if n.name != leader]


def config(cluster):
    return json.loads(cluster.etcd.get("/service/test/config")[0])


# -- formats


def test_formats(healthy):
    leader, replicas = names(healthy)
    rows = [line.split("\t") for line in ctl(healthy, "list", "-f", "tsv").splitlines()]
    assert rows[0][:4] == ["Cluster", "Member", "Host", "Role"]
    assert [r[1] for r in rows[1:]] == ["a", "b", "c"]
    assert {r[1]: r[3] for r in rows[1:]}[leader] == "Leader"
    text = ctl(healthy, "list", "-f", "yaml")
    assert text.startswith("- Cluster: test\n") and text.endswith("\n\n")
    tree = ctl(healthy, "topology")
    assert re.search(rf"^\| {leader} ", tree, re.M)
    for name in replicas:
        assert re.search(rf"^\| \+ {name} ", tree, re.M)
    assert re.match(TIMESTAMP + "\n", ctl(healthy, "list", "-t"))
    nothing = ctl(healthy, "list", "nosuch")
    assert nothing.startswith("+ Cluster: nosuch (uninitialized) ")


# -- prompts of switchover: y, n, empty, wrong, end of file


def test_switchover_prompts(healthy):
    leader, replicas = names(healthy)
    wanted = replicas[0]
    assert refused(healthy, "switchover", text=f"{wanted}\n") == \
        f"Member {wanted} is not the leader of cluster test"
    assert refused(healthy, "switchover", text="\nnobody\n") == \
        "Member nobody does not exist in cluster test or is tagged as nofailover"
    assert refused(healthy, "switchover", text=f"\n{leader}\n") == \
        f"Member {leader} is already the leader of cluster test"
    assert refused(healthy, "switchover", text="\n\nsome day\n").startswith(
        "Unable to parse scheduled timestamp (some day). It should be in an unambiguous")
    assert refused(healthy, "switchover", text="\n\n\nn\n") == "Aborting switchover"
    assert refused(healthy, "switchover", text="\n\n\n\n") == "Aborting switchover"
    assert refused(healthy, "switchover", text="\n\n\nperhaps\n") == "Aborted!"
    assert refused(healthy, "switchover", text="") == "Aborted!"
    assert refused(healthy, "switchover", "--scheduled", "2035-01-02T03:04+01:00",
                   text="\n\nn\n") == "Aborting scheduled switchover"
    out = ctl(healthy, "switchover", text=f"\n{wanted}\nnow\ny\n")
    prompts = (f"Primary [{leader}]: Candidate ['{replicas[0]}', '{replicas[1]}'] []: "
               r"When should the switchover take place \(e.g. \d{4}-\d\d-\d\dT\d\d:\d\d \)  "
               r"\[now\]: ")
    assert out.startswith("Current cluster topology\n+ Cluster: test (")
    assert re.search(prompts.replace("[", r"\[", 2).replace("] []", r"\] \[\]"), out) \
        or f"Primary [{leader}]: Candidate ['{replicas[0]}', '{replicas[1]}'] []: " in out
    assert (f"Are you sure you want to switchover cluster test, demoting current leader "
            f"{leader}? [y/N]: ") in out
    assert re.search(TIMESTAMP + rf'\.\d{{5}} Successfully switched over to "{wanted}"\n', out)
    wait_for("the new leader", lambda: healthy.wait_leader().name == wanted)


def test_switchover_by_options(healthy):
    leader, replicas = names(healthy)
    out = ctl(healthy, "switchover", "test", "--leader", leader, "--candidate", replicas[1],
              "--force")
    assert f'Successfully switched over to "{replicas[1]}"' in out
    healthy.wait_healthy()
    leader, replicas = names(healthy)
    # the older spelling
    out = ctl(healthy, "switchover", "test", "--master", leader, "--force")
    assert "Successfully switched over to" in out


def test_failover(healthy):
    leader, replicas = names(healthy)
    assert refused(healthy, "failover", "--force") == \
        "Failover could be performed only to a specific candidate"
    assert refused(healthy, "failover", "--candidate", replicas[0], text="n\n") == \
        "Aborting failover"
    out = ctl(healthy, "failover", "--candidate", replicas[0], "--force")
    assert f'Successfully failed over to "{replicas[0]}"' in out
    # an empty candidate lets the node choose
    healthy.wait_healthy()
    leader, replicas = names(healthy)
    out = ctl(healthy, "switchover", text="\n\n\ny\n")
    assert f"Are you sure you want to switchover cluster test, demoting current leader {leader}?" \
        in out
    assert "Successfully switched over to " in out


def test_scheduled_switchover_and_flush(healthy):
    leader, replicas = names(healthy)
    assert ctl(healthy, "flush", "test", "switchover") == "No pending scheduled switchover\n"
    out = ctl(healthy, "switchover", "--candidate", replicas[0], "--force", "--scheduled",
              "2035-01-02T03:04:05+01:00")
    assert "Switchover scheduled" in out
    wait_for("the footer", lambda: "Switchover scheduled at: 2035-01-02T03:04:05+01:00"
             in ctl(healthy, "list"))
    assert f"                    from: {leader}\n                      to: {replicas[0]}\n" \
        in ctl(healthy, "list")
    assert ctl(healthy, "flush", "test", "switchover").startswith("Success: ")
    assert ctl(healthy, "flush", "test", "switchover") == "No pending scheduled switchover\n"
    past = ctl(healthy, "switchover", "--force", "--scheduled", "2001-01-01T00:00Z")
    assert "Switchover failed, details: 422, " in past


# -- restart


def test_restart(healthy):
    leader, replicas = names(healthy)
    before = healthy[replicas[0]].postmaster()
    out = ctl(healthy, "restart", "test", replicas[0], text="\ny\n\n")
    assert out.startswith("+ Cluster: test (")
    assert f"Are you sure you want to restart members {replicas[0]}? [y/N]: " in out
    assert out.endswith(f"Success: restart on member {replicas[0]}\n")
    assert healthy[replicas[0]].postmaster() != before
    assert refused(healthy, "restart", "test", text="\nn\n") == "Aborted restart"
    assert refused(healthy, "restart", "test", text="\n\n") == "Aborted restart"
    assert refused(healthy, "restart", "test", text="") == "Aborted!"
    assert refused(healthy, "restart", "test", "nobody", "--force") == \
        "No 'any' among provided members"
    assert refused(healthy, "restart", "nosuch") == "nosuch cluster doesn't have any members"
    assert refused(healthy, "restart", "test", text="\ny\nfifteen\n") == \
        "Invalid PostgreSQL version: fifteen"
    assert refused(healthy, "restart", "test", "--force", "--pg-version", "9.6") == \
        "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 9.6"
    out = ctl(healthy, "restart", "test", leader, "--force", "--pg-version", "10.1")
    assert f"Failed: restart for member {leader}, status code=503, (" in out
    out = ctl(healthy, "restart", "test", "--role", "replica", "--any", "--force")
    assert len(re.findall(r"^Success: restart on member", out, re.M)) == 1
    # nobody waits for one
    assert "Success" not in ctl(healthy, "restart", "test", "--pending", "--force")


def test_scheduled_restart_and_flush(healthy):
    leader, replicas = names(healthy)
    at = "2035-01-02T03:04:05+01:00"
    out = ctl(healthy, "restart", "test", leader, "--scheduled", at, "--force")
    assert out.endswith(f"Success: restart scheduled on member {leader}\n")
    wait_for("the schedule in the table", lambda: at in ctl(healthy, "list"))
    # --force puts a new one into its place
    out = ctl(healthy, "restart", "test", leader, "--scheduled", at, "--force")
    assert out.endswith(f"Success: restart scheduled on member {leader}\n")
    wait_for("the schedule in the table", lambda: at in ctl(healthy, "list"))
    out = ctl(healthy, "restart", "test", leader, "--scheduled", at, text="y\n\n")
    assert "members " + leader + " at 2035-01-02 03:04:05+01:00? [y/N]: " in out
    assert out.endswith(f"Failed: another restart is already scheduled on member {leader}\n")
    assert refused(healthy, "flush", "test", leader, "restart", text="n\n") == "Aborted flush"
    out = ctl(healthy, "flush", "test", leader, replicas[0], "restart", "--force")
    assert f"Success: flush scheduled restart for member {leader}\n" in out
    assert f"No scheduled restart for member {replicas[0]}\n" in out


def test_reload(healthy):
    out = ctl(healthy, "reload", "test", "a", "--force")
    assert out.endswith("Reload request received for member a and will be processed within "
                        "2 seconds\n")
    assert refused(healthy, "reload", "test", text="n\n") == "Aborted reload"


def test_reinit(healthy):
    leader, replicas = names(healthy)
    assert refused(healthy, "reinit", "test", text=f"{leader}\n") == \
        f"{leader} is not a member of cluster"
    assert refused(healthy, "reinit", "test", text="\n") == " is not a member of cluster"
    assert refused(healthy, "reinit", "test", leader) == "No replica among provided members"
    assert refused(healthy, "reinit", "test", text=f"{replicas[0]}\nn\n") == \
        "Aborted reinitialize"
    healthy.wait_leader().sql("create table if not exists before_reinit (n int)")
    out = ctl(healthy, "reinit", "test", "--wait", text=f"{replicas[0]}\ny\n")
    assert "Which member do you want to reinitialize [" in out
    assert f"Success: reinitialize for member {replicas[0]}\n" in out
    assert f"Waiting for reinitialize to complete on: {replicas[0]}\n" in out
    assert out.endswith(f"Reinitialize is completed on: {replicas[0]}\n")
    healthy.wait_healthy()
    # with force and without names nothing is done
    assert "Success" not in ctl(healthy, "reinit", "test", "--force")


# -- this node, over its control socket


def test_local_actions(healthy):
    leader, replicas = names(healthy)
    standby = healthy[replicas[0]]
    before = standby.postmaster()
    assert refused(healthy, "local", "restart", node=standby.name, text="n\n") == \
        "Aborted restart"
    out = ctl(healthy, "local", "restart", node=standby.name, text="y\n")
    assert f"Success: restart on member {standby.name}" in out
    assert standby.postmaster() != before
    done = run(healthy, "local", "restart", "--pending", "--force", node=standby.name)
    assert done.returncode == 1 and "Failed: restart for member" in done.stdout
    out = run(healthy, "local", "switchover", "--force", node=standby.name)
    assert out.returncode == 1 and out.stdout == (
        f"Failed: switchover for member {standby.name}, status code=412, "
        "(leader name does not match)\n")
    done = run(healthy, "local", "reinit", "--force", node=leader)
    assert done.returncode == 1 and "Failed: reinitialize for member" in done.stdout
    out = ctl(healthy, "local", "reinit", "--force", node=standby.name)
    assert f"Success: reinitialize on member {standby.name}" in out
    healthy.wait_healthy()
    assert refused(healthy, "local", "nonsense") == "local: no such action: nonsense"
    assert refused(healthy, "local", "--socket", "/nonexistent/socket").startswith(
        "no answer on the control socket /nonexistent/socket: ")


def test_local_switchover_through_the_daemon(healthy):
    """The daemon judges, writes and waits, as for the REST API; patronictl
    touches no store: it is told of none here."""
    leader, replicas = names(healthy)

    def local(*arguments, node=leader, **options):
        done = subprocess.run(
            [str(BUILD / "patronictl"), "local", *arguments, "--socket",
             str(healthy[node].socket)],
            capture_output=True, text=True, timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, **options)
        return done.returncode, done.stdout

    def failed(what, code, why):
        return 1, f"Failed: {what} for member this node, status code={code}, ({why})\n"
    assert local("switchover", "--candidate", "nobody", "--force") == failed(
        "switchover", 412, "candidate does not exists")
    assert local("switchover", "--candidate", leader, "--force") == failed(
        "switchover", 400, "Switchover target and source are the same")
    assert local("switchover", "--force", "--scheduled", "2001-01-01T00:00Z") == failed(
        "switchover", 422, "Cannot schedule switchover in the past")
    assert local("switchover", input="n\n") == (
        1, "Are you sure you want to switch over from this node? [y/N]: ")
    at = "2035-01-02T03:04:05+01:00"
    assert local("switchover", "--scheduled", at, "--force") == (
        0, "Success: switchover on member this node: Switchover scheduled\n")
    assert local("flush", "switchover") == (
        0, "Success: flush scheduled switchover on member this node: "
        "scheduled switchover deleted\n")
    assert local("flush", "switchover") == failed(
        "flush scheduled switchover", 404, "no switchover is scheduled")
    assert local("restart", "--scheduled", at, "--force")[1].startswith(
        "Success: scheduled restart on member this node: ")
    wait_for("the schedule in the table", lambda: at in ctl(healthy, "list"))
    assert local("flush", "restart", "--force")[0] == 0
    assert local("restart", "--pg-version", "10.1", "--force")[1].startswith(
        "Failed: restart for member this node, status code=503, (")
    assert local("failover", "--force")[0] == 1
    code, out = local("switchover", "--candidate", replicas[1], input="y\n")
    assert (code, out) == (
        0, "Are you sure you want to switch over from this node? [y/N]: Success: switchover on "
        f'member this node: Successfully switched over to "{replicas[1]}"\n')
    assert healthy.wait_leader().name == replicas[1]
    healthy.wait_healthy()
    assert local("failover", "--candidate", leader, "--force") == (
        0, f'Success: failover on member this node: Successfully failed over to "{leader}"\n')


def local(cluster, node, *arguments):
    return ctl(cluster, "local", *arguments, node=node)


def processes(cluster, node):
    return {r["name"]: r for r in json.loads(
        local(cluster, node, "processes", "-f", "json"))}


def test_local_processes_in_every_format(healthy):
    leader, replicas = names(healthy)
    # helpers report every few seconds what they are
    for name, role in ((leader, "primary"), (replicas[0], "replica")):
        wait_for(f"{name} to be {role}", lambda n=name, r=role: (
            processes(healthy, n)["postgres"].get("role") == r))
    rows = processes(healthy, leader)
    assert list(rows) == ["master", "dcs", "rest", "postgres", "watchdog"]
    running = healthy[leader].helpers()
    for name, row in rows.items():
        assert row["pid"] == (healthy[leader].pid if name == "master" else running[name])
        assert row["rss_kb"] > 500 and row["uptime"] >= 0 and row["restarts"] >= 0
        assert row["user"] and row["cpu_ms"] >= 0 and row["sandbox"]
    assert rows["postgres"]["state"] == "running"
    # the lease: of the leader, and only of it; the keeper stands ready
    held = wait_for("the lease", lambda: processes(healthy, leader)["watchdog"]["armed"]
                    and processes(healthy, leader)["watchdog"]["lease_left_ms"])
    assert 0 < held <= 20000
    # one that led before has a rest of its lease at first
    wait_for("the keeper at ease", lambda: (
        processes(healthy, replicas[0])["watchdog"]["armed"] is False
        and processes(healthy, replicas[0])["watchdog"].get("lease_left_ms", 0) <= 0))
    pretty = local(healthy, leader)
    assert pretty.startswith(f"+ Node: {leader} (test) ")
    assert re.search(r"^\| watchdog .* \d+\.\d MB .*\| armed, fenced 0", pretty, re.M)
    tsv = [line.split("\t") for line in local(healthy, leader, "-f", "tsv").splitlines()]
    assert tsv[0][:2] == ["name", "pid"] and [r[0] for r in tsv[1:]] == list(rows)
    for fmt in ("yaml", "yml"):
        yaml = local(healthy, leader, "-f", fmt)
        assert re.findall(r"^  name: (\w+)$", yaml, re.M) == list(rows)
        assert yaml.endswith("\n\n")


def test_local_restart_helper_and_reload(healthy):
    leader, _ = names(healthy)
    node = healthy[leader]

    before = processes(healthy, leader)["dcs"]["restarts"]
    postmaster, key = node.postmaster(), healthy.leader_key()
    for name in ("dcs", "rest", "postgres", "watchdog"):
        pid = node.helper(name)
        assert local(healthy, leader, "restart-helper", name) == "helper is being restarted\n"
        wait_for(f"a new {name}", lambda n=name, p=pid: node.helpers().get(n, p) != p, 30)
        wait_for("all of them ready", lambda: all(
            r["ready"] for r in processes(healthy, leader).values()), 30)
    assert processes(healthy, leader)["dcs"]["restarts"] == before + 1
    # nothing of it touched PostgreSQL or the lock
    healthy.wait_healthy()
    assert node.postmaster() == postmaster and healthy.leader_key() == key
    start = node.log_end()
    assert local(healthy, leader, "reload") == "reload scheduled\n"
    wait_for("the reload", lambda: node.logged("(?i)reload", start), 30)


def test_local_journal_and_log_level(healthy):
    leader, _ = names(healthy)
    node = healthy[leader]

    def entries():
        return json.loads(local(healthy, leader, "journal", "-f", "json"))
    found = wait_for("an entry", entries)
    assert all(e["rule"] and e["time_us"] > 0 and e["times"] >= 1 for e in found)
    assert found == sorted(found, key=lambda e: e["time_us"])
    assert any("the leader with the lock" in e["text"] for e in found)
    newest = json.loads(local(healthy, leader, "journal", "-n", "2", "-f", "json"))
    assert len(newest) <= 2 and newest[-1]["rule"] in {e["rule"] for e in entries()}
    assert re.match(r"\+-+\+.*\n\| Time +\| Times \| Rule ", local(healthy, leader, "journal"))
    assert local(healthy, leader, "journal", "-f", "tsv").startswith("time_us\tlast_us\t")
    assert "  rule: " in local(healthy, leader, "journal", "-f", "yaml")
    # from now on, and until it is taken back
    assert not node.logged(" DEBUG: ")
    local(healthy, leader, "log-level", "debug")
    wait_for("debug messages", lambda: node.logged(" DEBUG: "), 30)
    local(healthy, leader, "log-level", "default")
    end = node.log_end()
    wait_for("a later loop", lambda: node.logged("the leader with the lock", end), 30)
    later = node.log_end()
    wait_for("another", lambda: node.logged("the leader with the lock", later), 30)
    assert not node.logged(" DEBUG: ", later)


# -- pause


def test_pause_and_resume(healthy):
    assert refused(healthy, "resume") == "Cluster is not paused"
    out = ctl(healthy, "pause", "--wait")
    assert out == ("'pause' request sent, waiting until it is recognized by all nodes\n"
                   "Success: cluster management is paused\n")
    assert " Maintenance mode: on\n" in ctl(healthy, "list")
    assert refused(healthy, "pause") == "Cluster is already paused"
    assert refused(healthy, "switchover", "--force", "--scheduled", "2035-01-01T00:00Z") == \
        "Can't schedule switchover in the paused state"
    assert refused(healthy, "restart", "test", "--force", "--scheduled", "2035-01-01T00:00Z") == \
        "Can't schedule restart in the paused state"
    out = ctl(healthy, "resume", "--wait")
    assert out.endswith("Success: cluster management is resumed\n")
    assert "pause" not in config(healthy)


# -- configuration


def test_edit_config_by_options(healthy):
    out = ctl(healthy, "edit-config", "-p", "work_mem=8MB", "-s", "maximum_lag_on_failover=1000",
              "--force")
    assert out.startswith("--- \n+++ \n@@ ") and out.endswith("Configuration changed\n")
    assert "\n+    work_mem: 8MB\n" in out
    assert config(healthy)["postgresql"]["parameters"]["work_mem"] == "8MB"
    assert config(healthy)["maximum_lag_on_failover"] == 1000
    assert ctl(healthy, "edit-config", "-p", "work_mem=8MB") == "Not changed\n"
    assert ctl(healthy, "edit-config", "-q", "-p", "work_mem=8MB") == ""
    for answer in ("n\n", "\n"):
        out = ctl(healthy, "edit-config", "-p", "work_mem=9MB", text=answer)
        assert out.endswith("Apply these changes? [y/N]: ")
    assert refused(healthy, "edit-config", "-p", "work_mem=9MB", text="") == "Aborted!"
    assert config(healthy)["postgresql"]["parameters"]["work_mem"] == "8MB"
    out = ctl(healthy, "edit-config", "-q", "-s", "maximum_lag_on_failover=null", text="y\n")
    assert out == "Apply these changes? [y/N]: Configuration changed\n"
    assert "maximum_lag_on_failover" not in config(healthy)
    assert refused(healthy, "edit-config", "-s", "nothing") == "Invalid parameter setting nothing"
    assert "maximum_lag" not in ctl(healthy, "show-config")
    assert "    work_mem: 8MB\n" in ctl(healthy, "show-config")


def test_edit_config_by_files(healthy, tmp_path):
    stored = ctl(healthy, "show-config")
    changes = tmp_path / "changes.yml"
    changes.write_text("maximum_lag_on_failover: 77\n")
    ctl(healthy, "edit-config", "--apply", str(changes), "--force")
    assert config(healthy)["maximum_lag_on_failover"] == 77
    out = ctl(healthy, "edit-config", "--replace", "-", text=stored)
    assert out.endswith("Use --force option to apply changes\n")
    assert config(healthy)["maximum_lag_on_failover"] == 77
    ctl(healthy, "edit-config", "--replace", "-", "--force", text=stored)
    assert "maximum_lag_on_failover" not in config(healthy)
    assert "No such file" in refused(healthy, "edit-config", "--apply", str(tmp_path / "none"))
    changes.write_text("- a\n")
    assert "not a mapping" in refused(healthy, "edit-config", "--apply", str(changes))


def test_edit_config_in_editor(healthy, tmp_path):
    editor = tmp_path / "edit.sh"
    editor.write_text("#!/bin/sh\nls \"$1\" >\"$SEEN\"\nsed -i 's/^loop_wait:.*/loop_wait: 3/' \"$1\"\n")
    editor.chmod(0o755)
    seen = tmp_path / "seen"
    env = {"EDITOR": str(editor), "SEEN": str(seen), "TMPDIR": str(tmp_path)}
    out = ctl(healthy, "edit-config", text="y\n", env=env)
    assert "-loop_wait: 2\n+loop_wait: 3\n" in out
    assert config(healthy)["loop_wait"] == 3
    path = seen.read_text().strip()
    assert re.fullmatch(r"test-config-\w{8}\.yaml", os.path.basename(path))
    assert not os.path.exists(path)
    # somebody else was faster
    editor.write_text("#!/bin/sh\nsed -i 's/^loop_wait:.*/loop_wait: 4/' \"$1\"\n"
                      f"\"{BUILD}/patronictl\" -c \"{healthy['a'].config}\" edit-config -q "
                      "-s loop_wait=2 --force\n")
    assert refused(healthy, "edit-config", "--force", env=env) == \
        "Config modification aborted due to concurrent changes"
    assert config(healthy)["loop_wait"] == 2
    editor.write_text("#!/bin/sh\nexit 3\n")
    assert refused(healthy, "edit-config", env=env) == "Editor exited with return code 3"
    editor.write_text("#!/bin/sh\necho '[1' >\"$1\"\n")
    refused(healthy, "edit-config", env=env)
    editor.write_text("#!/bin/sh\n: >\"$1\"\n")
    refused(healthy, "edit-config", env=env)
    assert not list(tmp_path.glob("*.yaml"))
    assert config(healthy)["loop_wait"] == 2


def test_history(healthy):
    rows = json.loads(ctl(healthy, "history", "-f", "json"))
    assert rows and [r["TL"] for r in rows] == list(range(1, len(rows) + 1))
    assert all(set(r) == {"TL", "LSN", "Reason", "Timestamp", "New Leader"} for r in rows)
    assert rows[-1]["New Leader"] == healthy.wait_leader().name
    # those of earlier leaders are kept
    assert len(rows) > 2 and all(r["Timestamp"] and r["New Leader"] for r in rows)


# -- query and dsn


def test_dsn(healthy):
    leader, replicas = names(healthy)
    assert ctl(healthy, "dsn") == f"host=127.0.0.1 port={healthy[leader].pg_port}\n"
    assert ctl(healthy, "dsn", "-m", replicas[1]) == \
        f"host=127.0.0.1 port={healthy[replicas[1]].pg_port}\n"
    assert refused(healthy, "dsn", "-m", "nobody") == "Can not find a suitable member"
    assert refused(healthy, "dsn", "-m", "a", "-r", "any") == \
        "--role and --member are mutually exclusive options"


def test_query(healthy):
    who = ("-U", "postgres", "-d", "postgres")
    assert ctl(healthy, "query", *who, "-c", "select 1 as n, true as t, null as x") == \
        "n\tt\tx\n1\tTrue\tNone\n"
    assert ctl(healthy, "query", *who, "--format", "json", "-f", "-",
               text="select 1 as n; select array[1,2] as l, 'x' as s") == \
        '[{"l": [1, 2], "s": "x"}]\n'
    assert ctl(healthy, "query", *who, "--delimiter", "|", "-c", "select 1 as a, 2 as b") == \
        "a|b\n1|2\n"
    assert ctl(healthy, "query", *who, "-r", "replica", "-c",
               "select pg_is_in_recovery() as r") == "r\nTrue\n"
    assert re.fullmatch(TIMESTAMP + "\tERROR, SQLSTATE: 42601\n",
                        ctl(healthy, "query", *who, "-c", "selec"))
    assert re.fullmatch(TIMESTAMP + "\tNo connection to member nobody is available\n",
                        ctl(healthy, "query", *who, "-m", "nobody", "-c", "select 1"))
    assert re.fullmatch(TIMESTAMP + "\tNo connection to role 'standby-leader' is available\n",
                        ctl(healthy, "query", *who, "-r", "standby-leader", "-c", "select 1"))
    assert "no results to fetch" in ctl(healthy, "query", *who, "-c", "set work_mem = '4MB'")
    assert ctl(healthy, "query", *who, "--format", "nonsense", "-c", "select 1") == ""
    assert refused(healthy, "query", "-c", "select 1", "-f", "-") == \
        "--file and --command are mutually exclusive options"
    assert refused(healthy, "query") == "You need to specify either --command or --file"
    assert run(healthy, "query", "-f", "/nonexistent").returncode == 2


def test_version_and_usage(healthy):
    out = ctl(healthy, "version", "test", "a", "nobody")
    assert re.search(r"^a: Patroni \d\S+ PostgreSQL \d+\.\d+$", out, re.M)
    assert run(healthy, "nonsense").returncode == 2
    assert run(healthy, "list", "-f", "xml").returncode == 2
    assert run(healthy, "list", "--help").stdout.startswith("Usage: patronictl list [OPTIONS]")


# -- terminals


def in_terminal(cluster, *arguments, until, env=None):
    """What the program writes to a terminal until a text comes; then Ctrl-C.
    Returns (output, exit code)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm", **(env or {})})
        os.execv(BUILD / "patronictl",
                 ["patronictl", "-c", str(cluster["a"].config), *arguments])
    out = b""
    deadline = time.monotonic() + 30
    sent = False
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        if not sent and until(out):
            os.write(fd, b"\x03")
            sent = True
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(fd)
    return out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_watch_in_terminal(healthy):
    out, code = in_terminal(healthy, "list", "-w", "0.2",
                            until=lambda o: o.count(b"\x1b[1;1H") >= 4)
    assert code == 1 and b"Aborted!" in out
    # cleared once, then written over
    assert out.count(b"\x1b[2J") == 1
    assert b"\x1b[32mrunning\x1b[0m" in out and b"\x1b[1mLeader\x1b[0m" in out
    out, _ = in_terminal(healthy, "list", "-W", until=lambda o: b"Leader" in o,
                         env={"NO_COLOR": "1"})
    assert b"\x1b[1m" not in out


def test_interrupt_at_prompt(healthy):
    out, code = in_terminal(healthy, "remove", "test", until=lambda o: b"to remove: " in o)
    assert code == 1 and b"Aborted!" in out


# -- unreachable members; roles of clusters; removal (last: it ends the cluster)


def test_unreachable_leader(healthy):
    leader, replicas = names(healthy)
    node = healthy[leader]
    # an api_url where nobody answers, and nobody who would correct it
    key = f"/service/test/members/{leader}"
    os.kill(node.pid, signal.SIGSTOP)
    dcs = node.helper("dcs")
    os.kill(dcs, signal.SIGSTOP)
    try:
        document = json.loads(healthy.etcd.get(key)[0])
        document["api_url"] = "http://127.0.0.1:1/patroni"
        healthy.etcd.put(key, json.dumps(document))
        out = run(healthy, "switchover", "--candidate", replicas[0], "--force")
        assert out.returncode == 0
        assert "Could not switchover using Patroni api, falling back to DCS\n" in out.stdout
        assert "Failing over to DCS" in out.stderr
        assert json.loads(healthy.etcd.get("/service/test/failover")[0]) == \
            {"leader": leader, "member": replicas[0]}
        healthy.etcd.put("/service/test/failover", "{}")
        assert refused(healthy, "restart", "test", leader, "--force").startswith(leader + ": ")
        # the others still answer
        assert "Success" in ctl(healthy, "pause")
    finally:
        os.kill(dcs, signal.SIGCONT)
        os.kill(node.pid, signal.SIGCONT)
    ctl(healthy, "resume")
    healthy.wait_healthy()


def test_standby_cluster_and_back(healthy):
    assert refused(healthy, "demote-cluster") == \
        "At least --host, --port or --restore-command should be specified"
    assert refused(healthy, "promote-cluster") == "Cluster is already in the required state"
    assert refused(healthy, "demote-cluster", "--restore-command", "false", text="n\n") == \
        "Aborted cluster demotion"
    out = ctl(healthy, "demote-cluster", "--restore-command", "false", "--force")
    assert re.search(TIMESTAMP + " cluster is successfully demoted\n", out)
    assert config(healthy)["standby_cluster"] == {"restore_command": "false"}
    assert "| Standby Leader |" in ctl(healthy, "list")
    out = ctl(healthy, "promote-cluster", "--force")
    assert re.search(TIMESTAMP + " cluster is successfully promoted\n", out)
    assert "standby_cluster" not in config(healthy)


def test_remove(healthy):
    leader, _ = names(healthy)
    assert refused(healthy, "remove", "test", text="tset\n") == \
        "Cluster names specified do not match"
    assert refused(healthy, "remove", "test", text="test\nyes\n") == \
        'You did not exactly type "Yes I am aware"'
    assert refused(healthy, "remove", "test", text="test\nYes I am aware\nnobody\n") == \
        "You did not specify the current leader of the cluster"
    for node in healthy.nodes:
        node.kill_tree()
    out = ctl(healthy, "remove", "test", text=f"test\nYes I am aware\n{leader}\n")
    assert out.endswith("Please specify the leader name to continue: ")
    assert healthy.etcd.get("/service/test/config") == (None, None)
    assert healthy.etcd.get(f"/service/test/members/{leader}") == (None, None)


def test_scaffold(shared):
    out = ctl(shared, "scaffold", "byhand", "--sysid", "7480031112223334445")
    assert out == "Cluster byhand has been created successfully\n"
    assert refused(shared, "scaffold", "byhand") == "This cluster is already initialized"
    value, kv = shared.etcd.get("/service/byhand/leader")
    assert value == "a" and kv.get("lease", "0") == "0"
    member, kv = shared.etcd.get("/service/byhand/members/a")
    assert json.loads(member)["role"] in ("primary", "master") and kv.get("lease", "0") == "0"


def test_configure(shared, tmp_path):
    path = tmp_path / "deep" / "ctl.yaml"
    run_ = subprocess.run([str(BUILD / "patronictl"), "configure", "-c", str(path), "-d",
                           f"etcd3://127.0.0.1:{shared.etcd.client}"], input="\n",
                          capture_output=True, text=True, timeout=20)
    assert run_.returncode == 0 and run_.stdout == "Namespace [/service/]: "
    assert path.read_text() == (f"dcs_api: etcd3://127.0.0.1:{shared.etcd.client}\n"
                                "namespace: /service/\n")
    done = subprocess.run([str(BUILD / "patronictl"), "-c", str(path), "list", "byhand"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and "byhand" in done.stdout


def test_half_written_keys(shared):
    """Keys of other versions and keys that are not what they should be."""
    def put(key, value):
        shared.etcd.put("/service/half/" + key, value)
    assert ctl(shared, "show-config", "half") == ""
    assert ctl(shared, "history", "half", "-f", "json") == "[]\n"
    assert refused(shared, "edit-config", "half", "-s", "a=1") == \
        "The config key does not exist in the cluster half"
    put("initialize", "")
    put("config", "{broken")
    put("leader", "old")
    put("history", "{}")
    put("failover", "nonsense")
    put("sync", "[1]")
    put("status", "x")
    put("members/broken", "{")
    put("members/empty", "")
    put("members/old", json.dumps({
        "conn_url": "postgres://10.0.0.1:5432/postgres", "api_url": "http://127.0.0.1:1/patroni",
        "state": "running", "role": "master", "xlog_location": 100, "version": "2.1.4"}))
    put("members/poor", json.dumps({"state": "stopped"}))
    pretty = ctl(shared, "list", "half")
    assert pretty.startswith("+ Cluster: half (initializing) ")
    assert re.search(r"^\| old +\| 10\.0\.0\.1 \| Leader +\| running ", pretty, re.M)
    assert re.search(r"^\| poor +\| +\| Replica \| stopped ", pretty, re.M)
    for fmt in ("tsv", "json", "yaml"):
        assert "old" in ctl(shared, "list", "half", "-f", fmt)
    assert "+ poor" in ctl(shared, "topology", "half")
    assert ctl(shared, "history", "half", "-f", "tsv") == \
        "TL\tLSN\tReason\tTimestamp\tNew Leader\n"
    assert ctl(shared, "show-config", "half") == "{}\n\n"
    assert ctl(shared, "dsn", "half") == "host=10.0.0.1 port=5432\n"
    assert ctl(shared, "dsn", "half", "-r", "master") == "host=10.0.0.1 port=5432\n"
    assert refused(shared, "dsn", "half", "-m", "poor") == "Can not find a suitable member"
    assert refused(shared, "pause", "half") == "Can not find accessible cluster member"
    out = ctl(shared, "version", "half")
    assert "old: failed to get version: " in out and "poor" not in out
    out = run(shared, "switchover", "half", "--candidate", "poor", "--force")
    assert out.returncode == 0 and "falling back to DCS" in out.stdout
    assert json.loads(shared.etcd.get("/service/half/failover")[0]) == \
        {"leader": "old", "member": "poor"}
    ctl(shared, "edit-config", "half", "-s", "ttl=30", "--force")
    assert shared.etcd.get("/service/half/config")[0] == '{"ttl":30}'


def test_credentials_and_certificates(tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    rest = {"certfile": str(certificate), "keyfile": str(key),
            "authentication": {"username": "me", "password": "secret"}}
    with Cluster(1, extra={"restapi": rest}) as cluster:
        node = cluster["a"].start()
        wait_for("the leader key", lambda: cluster.etcd.get("/service/test/leader")[0] == "a", 90)
        wait_for("its api_url", lambda: "https://" in cluster.etcd.get(
            "/service/test/members/a")[0])
        wait_for("the configuration", lambda: config(cluster))
        document = json.loads(node.config.read_text())

        def reload(**options):
            changed = dict(document, **options)
            path = tmp_path / "ctl.yml"
            path.write_text(json.dumps(changed))
            return subprocess.run([str(BUILD / "patronictl"), "-c", str(path)]
                                  + (["-k"] if options.get("scope") else [])
                                  + ["reload", "test", "--force"],
                                  capture_output=True, text=True, timeout=60)
        unknown = reload()
        assert unknown.returncode == 1 and "certificate" in unknown.stderr.lower()
        trusted = reload(ctl={"cacert": str(certificate)})
        assert "request received for member a" in trusted.stdout, trusted.stderr
        careless = reload(scope="test")
        assert "request received for member a" in careless.stdout, careless.stderr
        wrong = reload(ctl={"insecure": True,
                            "authentication": {"username": "me", "password": "guess"}})
        assert "Failed: reload for member a, status code=401, (" in wrong.stdout
        assert wrong.returncode == 0
