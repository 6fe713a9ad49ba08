"""Golden outputs of patronictl: every command and every format from stored
cluster views, byte for byte (golden/*.txt), with what the members were asked.

GOLDEN=write stores them anew; read the difference before committing it."""
import json
import re
import subprocess
import threading

import pytest

from cluster import BUILD, PG_BIN, wait_for
from ctl_stage import CITUS, GOLDEN, Stage, VIEWS, check

FORMATS = ("pretty", "tsv", "json", "yaml", "yml")
CLUSTERS = [c for c in VIEWS if "/" not in c] + ["nosuch"]
OK = (200, "fine")
NO = (503, "not now")


@pytest.fixture(scope="module")
def stage():
    with Stage() as s:
        data = s.dir / "pg"
        s.pg_port = s.ports.take()
        subprocess.run([PG_BIN / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"],
                       check=True, capture_output=True)
        server = subprocess.Popen(
            [PG_BIN / "postgres", "-D", data, "-p", str(s.pg_port), "-k", s.dir, "-F",
             "-c", "listen_addresses=127.0.0.1", "-c", "timezone=UTC"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for("PostgreSQL", lambda: subprocess.run(
                [PG_BIN / "pg_isready", "-h", "127.0.0.1", "-p", str(s.pg_port)],
                capture_output=True).returncode == 0)
            yield s
        finally:
            server.terminate()
            server.wait(60)


def case(*arguments, **options):
    return arguments, options


def demoted(stage):
    """PATCH /config of a leader that then follows another cluster."""
    def answer():
        stage.put("plain", "members/db1", dict(
            json.loads(VIEWS["plain"]["members/db1"]), role="standby_leader"))
        return OK
    return answer


def promoted(stage):
    def answer():
        stage.put("standby", "members/db1", dict(
            json.loads(VIEWS["standby"]["members/db1"]), role="primary"))
        return OK
    return answer


def paused(stage, cluster, on, names=("db1", "db2", "db3")):
    """PATCH /config, which those members then show in their keys."""
    def answer():
        for name in names:
            stage.put(cluster, f"members/{name}", dict(
                json.loads(VIEWS[cluster][f"members/{name}"]), pause=on))
        return OK
    return answer


PATRONI = json.dumps({"state": "running", "patroni": {"version": "4.1.4"},
                      "server_version": 150020})
NO_PG = json.dumps({"state": "starting", "patroni": {}})
SQL = ("select 1 as n, 1.5::numeric as d, 2.0::float8 as f, true as t, null as x, 'ä b' as s, "
       "'{1,2}'::int[] as l, '{\"k\": [1, null]}'::jsonb as j, '2026-01-02'::date as day, "
       "'2026-01-02 03:04:05Z'::timestamptz as at, '26:00:00'::interval as i "
       "union all select 2, -1, 1e20, false, '', '', '{}', '[]', '2026-01-03', "
       "'2026-01-02 03:04:05.5Z', '-1 day' order by 1")
PG = ("-U", "postgres", "-d", "postgres")


def cases(s):
    """{command: [case]}"""
    members = {"POST /reload": [OK, (202, "later"), NO]}
    switched = {"POST /switchover": (200, 'Successfully switched over to "db2"')}
    failed_over = {"POST /failover": (200, 'Successfully failed over to "db2"')}
    query = [case("query", "pg", *PG, "--format", f, "-c", SQL)
             for f in (*FORMATS, "topology", "nonsense")]
    query += [case("query", "pg", *PG, *more) for more in (
        ("-c", SQL), ("-c", "select 1 as a, 2 as b", "--delimiter", " | "), ("-c", "selec"),
        ("-c", "set work_mem = '4MB'"), ("-c", ""), ("-c", "select 1 as a where false"),
        ("-c", "select 1 as a, 2 as a", "--format", "json"),
        ("-c", "select 1/0", "--format", "pretty"), ("-c", "select 1/0", "--format", "json"),
        ("-c", "select 1/0", "--format", "yaml"), ("-r", "replica", "-c", "select 1 as n"),
        ("-r", "primary", "-c", "select 1 as n"), ("-r", "any", "-c", "select 1 as n"),
        ("-m", "nobody", "-c", "select 1"), ("-r", "standby-leader", "-c", "select 1"),
        ("-m", "db1", "-r", "any", "-c", "x"), ("-c", "x", "-f", "y"), (),
        ("-f", "/nonexistent/file"), ("-w", "abc", "-c", "x"), ("-c", "copy (select 1) to stdout"),
        ("-c", "select 'a' || chr(10) || 'b' as two, 1 as one", "--format", "pretty"),
        ("-c", "select 'a' as \"größe\", '東京' as \"名前\"", "--format", "pretty"))]
    query += [case("query", "pg", *PG, "-f", "-", text="select 1 as n;\nselect 2 as m\n"),
              case("query", "headless", "-c", "select 1"),
              case("query", "keyless", "-c", "select 1", "--format", "pretty")]
    edit = lambda *a, **o: case("edit-config", "orders", *a, **o)  # noqa: E731
    return {
        "list": [case("list", c, "-f", f) for c in CLUSTERS for f in FORMATS[:4]] + [
            case("list", "orders", "-fyml"), case("list", "orders", "-e"),
            case("list", "orders", "-e", "-f", "json"), case("list", "orders", "-te"),
            case("list", "orders", "busy"), case("list", "orders", "--format=tsv", "-t"),
            case("list"), case("list", config={"scope": "plain"}),
            case("list", "nosuch", "-e"),
            *[case("list", "shard", "-f", f, config=CITUS) for f in FORMATS[:4]],
            *[case("list", "shard", "--group", "1", "-f", f) for f in FORMATS[:4]],
            case("list", "shard", "--group", "7"), case("list", "shard", "--group", "x"),
            case("list", "shard"), case("list", "nosuch", config=CITUS),
            case("list", "orders", "-f", "xml"), case("list", "--forc"), case("list", "-x"),
            case("list", "orders", "-w"), case("list", "orders", "-w", "abc")],
        "topology": [case("topology", c) for c in CLUSTERS] + [
            case("topology", "shard", config=CITUS), case("topology", "shard", "--group", "10"),
            case("topology"), case("topology", "orders", "cascade"),
            case("topology", "orders", "-f", "json")],
        "history": [case("history", "orders", "-f", f) for f in FORMATS] + [
            *[case("history", "rubbish", "-f", f) for f in FORMATS[:4]],
            *[case("history", "nosuch", "-f", f) for f in FORMATS[:4]],
            case("history", "shard", "--group", "1"),
            case("history", "shard", config={"citus": {"group": 1, "database": "x"}}),
            case("history"), case("history", "a", "b"), case("history", "a", "b", "c")],
        "show-config": [case("show-config", c) for c in ("orders", "busy", "rubbish", "nosuch")] + [
            case("show-config", "shard", "--group", "1"),
            case("show-config", "shard", config={"citus": {"group": 1, "database": "x"}}),
            case("show-config", config={"scope": "standby"}), case("show-config")],
        "version": [
            case("version"), case("version", "nosuch"),
            case("version", "orders", script={"GET /patroni": (200, PATRONI)}),
            case("version", "orders", "db2", "nobody", script={"GET /patroni": (200, PATRONI)}),
            case("version", "orders", script={"GET /patroni": [
                (503, NO_PG), (200, "{}"), (200, "no json")]}),
            case("version", "orders", script={"GET /patroni": [
                (200, json.dumps({"server_version": v, "patroni": {"version": "1.0"}}))
                for v in (90624, 140008, 100000)]}),
            case("version", "unreachable", "db1"), case("version", "mute", "db1"),
            case("version", "shard", config=CITUS, script={"GET /patroni": (200, PATRONI)}),
            *[case("version", "alone", config=c, script={"GET /patroni": (200, PATRONI)})
              for c in ({"ctl": {"auth": "me:se:cret"}}, {"restapi": {"auth": "me:x"}},
                        {"ctl": {"authentication": {"username": "a", "password": "b"}},
                         "restapi": {"authentication": {"username": "c", "password": "d"}}},
                        {"ctl": {"authentication": {"username": "a"}}})]],
        "dsn": [case("dsn", c) for c in ("orders", "headless", "ports", "keyless", "nosuch")] + [
            *[case("dsn", "orders", "-r", r) for r in (
                "leader", "primary", "master", "standby-leader", "replica", "standby", "any",
                "boss")],
            *[case("dsn", "standby", "-r", r) for r in ("primary", "standby-leader")],
            case("dsn", "orders", "-m", "db3"), case("dsn", "ports", "-m", "db2"),
            case("dsn", "orders", "-m", "nobody"), case("dsn", "orders", "-m", "db1", "-r", "any"),
            case("dsn", "rubbish", "-m", "poor"), case("dsn", "rubbish", "-m", "types"),
            case("dsn", "shard", "-m", "x1", config=CITUS), case("dsn", "shard", config=CITUS),
            case("dsn", "shard", "--group", "1"), case("dsn", "--role")],
        "query": query,
        "pause": [
            case("pause", "orders", script={"PATCH /config": OK}),
            case("pause", "orders", script={"PATCH /config": NO}),
            case("pause", "orders", "--wait",
                 script={"PATCH /config": paused(s, "orders", True)}),
            case("pause", "orders", "--wait",
                 script={"PATCH /config": paused(s, "orders", False)}),
            case("pause", "orders", "--wait", script={"PATCH /config": OK}),
            case("pause", "busy"), case("pause", "unreachable"), case("pause", "nosuch"),
            case("pause", "mute", script={"PATCH /config": OK}),
            case("pause", "shard", "--group", "10", script={"PATCH /config": OK})],
        "resume": [
            case("resume", "busy", script={"PATCH /config": OK}),
            case("resume", "busy", script={"PATCH /config": NO}),
            case("resume", "busy", "--wait", script={"PATCH /config": paused(s, "busy", None)}),
            case("resume", "orders"),
            case("resume", "shard", "--group", "1", script={"PATCH /config": OK})],
        "reload": [
            case("reload", "orders", "--force", script=members),
            case("reload", "orders", "db2", "--force", script={"POST /reload": OK}),
            case("reload", "orders", "db2", "nobody", "--force", script={"POST /reload": OK}),
            case("reload", "orders", "-r", "replica", "--force",
                 script={"POST /reload": (202, "")}),
            case("reload", "orders", "-r", "replica", "db1"), case("reload", "orders", "nobody"),
            case("reload", "unreachable", "--force"), case("reload", "mute", "--force"),
            case("reload", "nosuch"), case("reload"),
            case("reload", "shard", "--force", config=CITUS, script={"POST /reload": OK}),
            case("reload", "shard", "--group", "1", "--force", script={"POST /reload": OK})],
        "restart": [
            case("restart", "orders", "--force", script={
                "POST /restart": [OK, (202, ""), (409, "")]}),
            case("restart", "orders", "db2", "--force", script={"POST /restart": NO}),
            case("restart", "orders", "db2", "--force", "--pending"),
            case("restart", "busy", "--force", "--pending", script={"POST /restart": OK}),
            case("restart", "orders", "db2", "--force", "--timeout", "2min", "--pg-version",
                 "15.9", script={"POST /restart": OK}),
            case("restart", "orders", "--pending", "--force", "--pg-version", "9.5.2",
                 "--timeout", "90", "--scheduled", "2030-01-02T10:00",
                 script={"POST /restart": (202, "")}),
            case("restart", "busy", "db2", "--force", "--scheduled", "2030-01-02T10:00Z"),
            case("restart", "standby", "-r", "standby-leader", "--force",
                 script={"POST /restart": OK}),
            case("restart", "headless", "-r", "leader", "--force"),
            case("restart", "orders", "-r", "replica", "db1", "--force"),
            *[case("restart", "orders", "--force", "--pg-version", v)
              for v in ("x", "9.6", "10", "1.2.3.4", "10..1")],
            case("restart", "orders", "--force", "--scheduled", "some day"),
            case("restart", "unreachable", "--force"), case("restart", "nosuch"),
            case("restart"), case("restart", "shard", "--force", config=CITUS,
                                  script={"POST /restart": OK})],
        "reinit": [
            case("reinit", "orders", "db2", "--force", script={"POST /reinitialize": OK}),
            case("reinit", "orders", "db2", "db3", "--force", "--from-leader",
                 script={"POST /reinitialize": [OK, NO]}),
            case("reinit", "orders", "--force"), case("reinit", "orders", "db1", "--force"),
            case("reinit", "orders", "db2", "--force", "--wait", script={
                "POST /reinitialize": OK, "GET /patroni": [
                    (503, '{"state": "creating replica"}'), (503, "no json"), (200, PATRONI)]}),
            case("reinit", "orders", "db2", "db3", "--force", "--wait", script={
                "POST /reinitialize": OK, "GET /patroni": [
                    (503, '{"state": "creating replica"}'), (200, PATRONI)]}),
            case("reinit", "orders", "db2", "--force",
                 script={"POST /reinitialize": (503, "restart already in progress")}),
            case("reinit", "alone", "--force"), case("reinit", "nosuch"), case("reinit"),
            case("reinit", "unreachable", "db2", "--force")],
        "flush": [
            case("flush", "orders", "restart", "--force"),
            case("flush", "busy", "restart", "--force", script={"DELETE /restart": OK}),
            case("flush", "busy", "db2", "restart", "--force", script={"DELETE /restart": NO}),
            case("flush", "busy", "nobody", "restart"), case("flush", "orders", "switchover"),
            case("flush", "busy", "switchover", script={"DELETE /switchover": OK}),
            case("flush", "planned", "switchover", script={"DELETE /switchover": (404, "gone")}),
            case("flush", "busy", "switchover", script={"DELETE /switchover": NO}),
            case("flush", "busy", "switchover", script={"DELETE /switchover": [NO, OK]}),
            case("flush", "orders", "everything"), case("flush", "orders"), case("flush")],
        "switchover": [
            case("switchover", "orders", "--force", script=switched),
            case("switchover", "orders", "--candidate", "db2", "--force", script=switched),
            case("switchover", "orders", "--leader", "db1", "--candidate", "db2", "--force",
                 "--scheduled", "2030-01-02T10:00:30.5+03:30",
                 script={"POST /switchover": (202, "Switchover scheduled")}),
            case("switchover", "orders", "--primary", "db1", "--force", script=switched),
            case("switchover", "orders", "--master", "db1", "--force", script=switched),
            case("switchover", "orders", "--leader", "db2"),
            case("switchover", "orders", "--force", "--candidate", "db1"),
            case("switchover", "orders", "--force", "--candidate", "nobody"),
            case("switchover", "busy", "--force", "--candidate", "db3"),
            case("switchover", "busy", "--force", "--candidate", "db2", "--scheduled",
                 "2030-01-02"),
            case("switchover", "orders", "--force", "--scheduled", "in 5 minutes"),
            case("switchover", "orders", "--force", "--scheduled", "", script=switched),
            case("switchover", "orders", "--force", script={"POST /switchover": (412, "no")}),
            case("switchover", "orders", "--force", script={"POST /switchover": (
                503, "Switchover Status Unknown after 20 seconds")}),
            case("switchover", "orders", "--force", script={
                "POST /switchover": (501, "<p>Server does not support this operation</p>"),
                **failed_over}),
            case("switchover", "headless", "--force"), case("switchover", "alone", "--force"),
            case("switchover", "unreachable", "--force", "--candidate", "db3"),
            case("switchover", "nosuch"), case("switchover"),
            case("switchover", "shard", "--force", config=CITUS),
            case("switchover", "shard", "--group", "10", "--force",
                 script={"POST /switchover": (200, "done")})],
        "failover": [
            case("failover", "orders", "--candidate", "db2", "--force", script=failed_over),
            case("failover", "orders", "--force"),
            case("failover", "headless", "--candidate", "db2", "--force", script=failed_over),
            case("failover", "orders", "--candidate", "db2", "--force",
                 script={"POST /failover": (412, "no")}),
            case("failover", "unreachable", "--candidate", "db2", "--force"),
            case("failover", "orders", "--leader", "db1", "--candidate", "db2", "--force",
                 script=switched),
            case("failover", "nosuch", "--candidate", "x", "--force"),
            case("failover", "shard", "--force", config=CITUS)],
        "demote-cluster": [
            case("demote-cluster", "plain", "--host", "10.9.0.1", "--port", "5433",
                 "--restore-command", "false", "--primary-slot-name", "s", "--force",
                 script={"PATCH /config": demoted(s)}),
            case("demote-cluster", "plain", "--primary-slot-name", "s"),
            case("demote-cluster", "plain", "--port", "0"),
            case("demote-cluster", "plain", "--port", "x"),
            case("demote-cluster", "headless", "--host", "x"),
            case("demote-cluster", "standby", "--host", "x"),
            case("demote-cluster", "plain", "--host", "x", "--force",
                 script={"PATCH /config": NO}),
            case("demote-cluster", "unreachable", "--host", "x", "--force")],
        "promote-cluster": [
            case("promote-cluster", "standby", "--force", script={"PATCH /config": promoted(s)}),
            case("promote-cluster", "plain"), case("promote-cluster", "headless"),
            case("promote-cluster", "standby", "--force", script={"PATCH /config": NO}),
            case("promote-cluster")],
        "remove": [case("remove", "plain", "-f", f, text="plain\nYes I am aware\ndb1\n")
                   for f in FORMATS] + [
            case("remove", "plain", text="orders\n"), case("remove", "plain", text=""),
            case("remove", "plain", text="plain\nyes\n"),
            case("remove", "plain", text="plain\nYes I am aware\ndb2\n"),
            case("remove", "headless", text="headless\nYes I am aware\n"),
            case("remove", "nosuch", text="nosuch\nYes I am aware\n"), case("remove"),
            case("remove", "shard", config=CITUS),
            case("remove", "shard", "--group", "1", text="shard\nYes I am aware\nw0\n"),
            case("list", "shard", config=CITUS)],
        "edit-config": [
            edit("-p", "work_mem=64MB", "-s", "ttl=40", "-s", "synchronous_mode=null", "--force"),
            edit("-s", "ttl=30"), edit("-q", "-s", "ttl=30"), edit("-q", "-s", "ttl=31", "--force"),
            edit("-s", "ttl.x=1", "-s", "a.b.c=null", "--force"),
            edit("-p", "archive_command='%p'", "-p", "plpgsql.variable_conflict=error",
                 "-p", "shared_preload_libraries=a, b", "--force"),
            edit("-s", "a=", "-s", "b=~", "-s", "c=on", "-s", 'd="on"', "-s", "e=[a, b]",
                 "-s", "f={a: 1}", "-s", "g=1:30", "-s", "h=x # y", "--force"),
            edit("-s", "postgresql.parameters=null", "--force"), edit("-s", "nothing"),
            edit("-s", "a=[1"), edit("-p", "x=%p"), edit("--apply", "/nonexistent/file"),
            edit("--apply", "-", text="ttl: '30'\nloop_wait: null\n"),
            edit("--apply", "-", "--force", text="ttl: 33\npostgresql: {parameters: {a: b}}\n"),
            edit("--replace", "-", "--force", text="ttl: 33\nx: null\ny: {z: null}\n"),
            edit("--replace", "-", "--force", text="- a\n"), edit("--apply", "-", text=""),
            edit("--replace", "-", "--force", text="a: [\n"),
            edit(env={"EDITOR": "/nonexistent/editor"}), edit(env={"EDITOR": "false"}),
            edit("--force", env={"EDITOR": "sed -i s/30/35/"}),
            edit(env={"EDITOR": "true"}), case("edit-config", "nosuch", "-s", "a=1"),
            case("edit-config", "rubbish", "-s", "a=1", "--force"),
            case("show-config", "rubbish"),
            case("edit-config", "shard", "--group", "1", "-s", "ttl=9", "--force"),
            case("edit-config", "shard", "-s", "ttl=9", "--force", config=CITUS)],
        "scaffold": [
            case("scaffold", "nosuch"), case("scaffold", "orders", config=HAND),
            case("scaffold"), case("scaffold", "byhand", "--sysid", "77", config=HAND),
            case("scaffold", "byhand", config=HAND), case("list", "byhand")],
        "configure": [
            case("configure", "-c", str(s.dir / "deep/ctl.yaml"), "-d", "etcd3://h:1", "-n", "/x/"),
            case("configure", "-c", "/proc/no/ctl.yaml", "-d", "etcd3://h:1", "-n", "/x/"),
            case("configure", "-c", str(s.dir / "a.yaml"), text="\n\n")],
        "local": [
            case("local"), case("local", "processes", config=NODE), case("local", "--socket", "/x"),
            case("local", "nonsense"), case("local", "journal", "-f", "json", config=NODE),
            *[case("local", a, "--force", config=NODE) for a in (
                "restart", "reinit", "switchover", "reload")],
            case("local", "failover", "--force"), case("local", "flush"),
            case("local", "flush", "x"), case("local", "log-level"),
            case("local", "log-level", "loud"), case("local", "restart-helper"),
            case("local", "restart-helper", "cat"), case("local", "restart", "--timeout", "0"),
            case("local", "switchover", "--scheduled", "some day"),
            case("local", "processes", "-f", "xml")],
    }


HAND = {"name": "hand", "postgresql": {"connect_address": "10.7.0.1"},
        "restapi": {"listen": "10.7.0.1:8008"}}
NODE = {"name": "db1", "control_socket": "/nonexistent/socket"}


def commands():
    """All names that the program has: those of --help and the older ones."""
    text = subprocess.run([BUILD / "patronictl", "--help"], capture_output=True, text=True,
                          check=True).stdout
    listed = re.findall(r"^  ([a-z-]+)  ", text.split("Commands:\n")[1].split("\nExamples")[0],
                        re.M)
    return listed + ["configure", "scaffold"]


NAMES = ("configure", "demote-cluster", "dsn", "edit-config", "failover", "flush", "history",
         "list", "local", "pause", "promote-cluster", "query", "reinit", "reload", "remove",
         "restart", "resume", "scaffold", "show-config", "switchover", "topology", "version")


def test_demote_tells_of_each_step(stage):
    """While the cluster is not what it shall be, a line a second; the time that
    it takes is not part of the golden text."""
    document = json.loads(VIEWS["plain"]["members/db1"])

    def steps():
        stage.put("plain", "members/db1", dict(document, role="replica"))
        threading.Timer(1.5, lambda: stage.put("plain", "leader", "db2")).start()
        threading.Timer(3.5, lambda: stage.put(
            "plain", "members/db2", dict(document, role="standby_leader"))).start()
        return OK
    text = stage.run(("demote-cluster", "plain", "--host", "x", "--force"),
                     script={"PATCH /config": steps})
    lines = [line for line in text.splitlines() if "<TIME>" in line]
    assert len(lines) >= 3
    assert [line for i, line in enumerate(lines) if line not in lines[:i]] == [
        "<TIME> cluster is unlocked: False, leader role: replica, leader state: running",
        "<TIME> cluster is unlocked: False, leader role: replica, leader state: running, "
        "previous leader state: 'running'",
        "<TIME> cluster is successfully demoted"]


@pytest.mark.parametrize("name", NAMES)
def test_golden(stage, name):
    for member in ("db1", "db2"):
        stage.put("pg", f"members/{member}", {
            "conn_url": "postgres://@PG/postgres", "state": "running",
            "role": "primary" if member == "db1" else "replica"})
    stage.put("pg", "leader", "db1")
    text = "".join(stage.run(arguments, **options) for arguments, options in cases(stage)[name])
    check(f"{name}.txt", text)


def test_help_golden():
    out = "".join(
        f"==== {' '.join(a)} --help\n" + subprocess.run(
            [BUILD / "patronictl", *a, "--help"], capture_output=True, text=True, check=True,
            env={"HOME": "/nonexistent"}).stdout
        for a in [()] + [(c,) for c in commands()])
    check("help.txt", out)


def test_usage_golden():
    """Errors before a command is reached, and what the environment says."""
    out = ""
    for arguments, env in (
            (("nonsense",), {}), (("--nonsense",), {}), (("--confi", "x", "list"), {}), (("-c",), {}),
            (("-c", "/nonexistent", "list"), {}), (("-d", "ftp://x", "list", "a"), {}),
            (("-d", "etcd3://x:y", "list", "a"), {}), (("-d", "etcd3://x:70000", "list", "a"), {}),
            (("-d", "kubernetes://x", "list", "a"), {}), (("-d", "raft://x", "list", "a"), {}),
            (("list", "a"), {}), (("list", "a"), {"PATRONICTL_CONFIG_FILE": "/nonexistent"}),
            (("list", "a"), {"DCS_URL": "ftp://x"}), (("list", "a"), {"DCS": "ftp://x"}),
            (("list", "a"), {"LOGLEVEL": "LOUD"}), ((), {}), (("pause",), {}),
            (("list",), {"PATRONI_SCOPE": "a"}),
            (("list", "a"), {"PATRONI_CTL_USERNAME": "u"}),
            (("list",), {"PATRONI_CONFIGURATION": "scope: [", "PATRONI_SCOPE": "a"})):
        done = subprocess.run([BUILD / "patronictl", *arguments], capture_output=True, text=True,
                              timeout=60, env={"HOME": "/nonexistent", **env})
        out += f"==== {' '.join([f'{k}={v}' for k, v in env.items()] + list(arguments))}\n" + \
            done.stdout + "---- stderr\n" + done.stderr + f"---- exit {done.returncode}\n"
    # the drivers are another test's
    check("usage.txt", re.sub("(Available implementations): .*", r"\1: …", out))


def test_every_command_and_format_has_a_golden():
    assert sorted(commands()) == sorted(NAMES)
    for name in NAMES:
        assert (GOLDEN / f"{name}.txt").exists(), name
        text = (GOLDEN / f"{name}.txt").read_text()
        offered = subprocess.run([BUILD / "patronictl", name, "--help"], capture_output=True,
                                 text=True, env={"HOME": "/nonexistent"}).stdout
        choice = re.search(r"--format \[([a-z|]+)\]", offered)
        wanted = choice.group(1).split("|") if choice and name != "local" else []
        if name == "query":
            wanted = re.search(r"Output format \(([a-z, ]+)\)",
                               re.sub(r"\s+", " ", offered)).group(1).split(", ")
        for fmt in wanted:
            assert re.search(rf"^==== {name} .*(-f|--format) ?{fmt}\b", text, re.M) \
                or re.search(rf"^==== {name} .*-f{fmt}\b", text, re.M), (name, fmt)
    assert {p.name for p in GOLDEN.iterdir()} == \
        {f"{n}.txt" for n in NAMES} | {"help.txt", "usage.txt", "prompts.txt"}
