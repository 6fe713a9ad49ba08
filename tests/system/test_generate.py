"""patroni --generate-config from a running server, --generate-sample-config
and --validate-config as programs: what they print and how they end."""
import json
import os
import socket
import subprocess

import pytest

from cluster import BUILD, PG_BIN, Cluster


def patroni(*arguments, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "PATRONI"))}
    return subprocess.run([BUILD / "patroni", *map(str, arguments)], text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
                          env=dict(env, PATH=f"{PG_BIN}:/usr/bin:/bin", **environment))


@pytest.fixture(scope="module")
def server():
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        node.write_config(extra={"postgresql": {
            "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust"],
            "pg_ident": ["map os db"],
            "parameters": {"work_mem": "9MB", "archive_mode": "on", "archive_command": "true %p",
                           "unix_socket_directories": str(node.dir)}}})
        cluster.start()
        node.sql("create role plain login password 'x'")
        yield node


def read(text):
    """The YAML that the program printed, as itself reads it."""
    import yaml
    return yaml.safe_load(text)


def test_from_a_running_server(server, tmp_path):
    out = tmp_path / "made" / "patroni.yml"
    done = patroni("--generate-config", out, "--dsn",
                   f"host=127.0.0.1 port={server.pg_port} user=postgres password=secret")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = out.read_text()
    assert not text.endswith("\n")
    # sections in their order, a blank line before each
    order = [line.split(":")[0] for line in text.split("\n") if line and line[0].isalpha()]
    assert order == ["scope", "name", "log", "restapi", "bootstrap", "postgresql", "tags"]
    assert "\n\nbootstrap:" in text and "\n\npostgresql:" in text
    assert out.stat().st_mode & 0o077 == 0
    pytest.importorskip("yaml")
    document = read(text)
    assert document["scope"] == "test" and document["name"] == socket.gethostname()
    pg = document["postgresql"]
    assert pg["data_dir"] == str(server.data) and pg["bin_dir"] == str(PG_BIN.resolve())
    assert pg["listen"] == f"127.0.0.1:{server.pg_port}"
    assert pg["connect_address"].endswith(f":{server.pg_port}")
    assert pg["authentication"]["superuser"]["username"] == "postgres"
    assert pg["authentication"]["superuser"]["password"] == "secret"
    assert pg["authentication"]["superuser"]["sslmode"] == "prefer"
    assert "sslnegotiation" not in pg["authentication"]["superuser"]  # 17
    assert pg["authentication"]["replication"] == {"username": "#FIXME", "password": "#FIXME"}
    assert pg["pg_hba"] == ["local all all trust", "host all all 127.0.0.1/32 trust"]
    assert pg["pg_ident"] == ["map os db"]
    assert pg["parameters"]["archive_command"] == "true %p"
    assert pg["parameters"]["config_file"] == str(server.data / "postgresql.conf")
    dcs = document["bootstrap"]["dcs"]
    assert list(dcs)[:3] == ["loop_wait", "retry_timeout", "ttl"]
    assert dcs["postgresql"]["parameters"]["work_mem"] in ("9MB", 9216)
    assert int(dcs["postgresql"]["parameters"]["max_connections"]) == 60
    assert "listen_addresses" not in dcs["postgresql"]["parameters"]
    # what it made is good but for what only the operator knows
    done = patroni("--validate-config", "-i", out)
    assert done.returncode == 1
    assert {line.split(" ")[0] for line in done.stderr.splitlines()} <= {
        "consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper",
        "restapi.connect_address", "postgresql.connect_address", "postgresql.data_dir",
        "tags"}, done.stderr


def test_by_the_environment(server):
    done = patroni("--generate-config", PGHOST=str(server.dir), PGPORT=str(server.pg_port),
                   PGUSER="postgres", PGPASSWORD="from-env")
    assert done.returncode == 0, done.stderr
    assert "password: from-env" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("dsn, message", [
    ("host=", "Failed to parse DSN string"),
    ("host=127.0.0.1 port=1 user=u password=p", "Failed to establish PostgreSQL connection: "),
    (None, "The provided user does not have superuser privilege"),
])
def test_failures(server, dsn, message):
    dsn = dsn or f"host=127.0.0.1 port={server.pg_port} user=plain password=x dbname=postgres"
    if dsn == "host=":
        dsn = "this is no connection string ="
    done = patroni("--generate-config", "--dsn", dsn)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_sample():
    done = patroni("--generate-sample-config")
    assert done.returncode == 0, done.stderr
    for line in ("scope: '#FIXME'", "  wal_keep_size: 128MB", "wal_level: replica",
                 "password_encryption: scram-sha-256", "username: rewind_user",
                 "use_pg_rewind: true", "- host all all all scram-sha-256",
                 "- host replication replicator all scram-sha-256"):
        assert line in done.stdout, line
    done = patroni("--generate-sample-config", PATRONI_SCOPE="mine",
                   PATRONI_REPLICATION_USERNAME="repl")
    assert "scope: mine" in done.stdout and "host replication repl all" in done.stdout
    done = patroni("--generate-sample-config", PATRONI_POSTGRESQL_BIN_DIR="/nowhere")
    assert done.returncode == 1 and "Failed to get postgres version: " in done.stderr


def test_validation(tmp_path):
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        good = json.loads(node.config.read_text())
        good["postgresql"]["connect_address"] = "10.0.0.1:5432"
        good["restapi"]["connect_address"] = "10.0.0.1:8008"

        def check(document, *options):
            file = tmp_path / "c.yml"
            file.write_text(json.dumps(document))
            done = patroni("--validate-config", *options, file)
            return done.returncode, done.stdout, done.stderr.splitlines()
        assert check(good) == (0, "", [])
        code, out, lines = check(good, "-p")
        assert code == 0 and lines == [] and "super-secret" in out
        assert out.index("bootstrap:") < out.index("name:") < out.index("scope:")
        # somebody listens there
        with socket.create_server(("127.0.0.1", node.rest_port)):
            code, out, lines = check(good)
            assert (code, out) == (1, "")
            assert lines == [f"restapi.listen 127.0.0.1:{node.rest_port} didn't pass validation: "
                             f"Port {node.rest_port} is already in use."]
            assert check(good, "-i") == (0, "", [])
            assert check(good, "--ignore-listen-port")[0] == 0
            assert check(good, "-ip")[0] == 0
        bad = json.loads(json.dumps(good))
        del bad["scope"]
        bad["postgresql"]["pg_ctl_timeout"] = "soon"
        bad["postgresql"]["connect_address"] = "localhost:5432"
        bad["bootstrap"]["dcs"]["ttl"] = 5
        bad["tags"] = {"nofailover": True, "failover_priority": 1, "clonefrom": "yes"}
        code, out, lines = check(bad, "-p")
        assert (code, out) == (1, "")
        assert lines == [
            "scope  is not defined.",
            "bootstrap.dcs.ttl 5 didn't pass validation: Wrong value",
            "postgresql.connect_address localhost:5432 didn't pass validation: must not contain "
            '"127.0.0.1", "0.0.0.0", "*", "::1", "localhost"',
            "postgresql.pg_ctl_timeout soon didn't pass validation: Wrong value",
            "tags  Multiple of ('nofailover', 'failover_priority') provided",
            "tags.clonefrom yes is not a boolean"], lines
        # a data directory that is none, and one of another version
        node.data.mkdir()
        (node.data / "file").touch()
        code, _, lines = check(good)
        assert code == 1 and len(lines) == 1
        assert lines[0].endswith("doesn't look like a valid data directory")
        (node.data / "PG_VERSION").write_text("9.6\n")
        (node.data / "global").mkdir()
        (node.data / "global" / "pg_control").touch()
        (node.data / "pg_xlog").mkdir()
        code, _, lines = check(good)
        assert code == 1 and "doesn't match with 'postgres --version' output" in lines[0], lines
        assert patroni("--validate-config", "--generate-config").returncode == 2
        assert patroni("--validate-config", "--nonsense").returncode == 2
        empty = patroni("--validate-config", "/dev/null")
        assert empty.returncode == 1 and empty.stderr == "invalid config path\n"
