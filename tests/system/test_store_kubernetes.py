"""What only Kubernetes has: watches that expire, conflicts, pods, tokens."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

import stores
from agent import Agent
from basics import BUILD, Ports, wait_for
from cluster import Cluster
from kubernetes import TOKEN
from tls import Authority


@contextlib.contextmanager
def started(name="kubernetes", **options):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    ports = Ports()
    store = stores.new(name, directory, ports, **options)
    try:
        store.start()
        yield store
    finally:
        store.close()
        ports.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def double():
    with started() as store:
        yield store


@pytest.fixture
def scope(double, request):
    double.order(broken=[500, None, 0], forbidden=[], tokens=[TOKEN])
    return request.node.name.replace("test_", "").replace("_", "-")


def pod(store, scope, name):
    return store.api(f"/api/v1/namespaces/{scope}/pods/{name}")[1]


def test_watch_expires(double, scope):
    """410: the list is read again, and nothing is lost."""
    with Agent(double, "a", scope=scope) as a, Agent(double, "b", scope=scope) as b:
        a.view(8000)
        b.view(8000)
        mark = len(b.events)
        double.order(forget_events=True)
        a.does("acquire", ms=8000)
        wait_for("b to see it", lambda: b.leader(8000) == "a", 10)
        b.event("the lock", lambda e: e["wake"] == 1, 10, mark)
        a.does("update", ms=8000)


@pytest.mark.parametrize("code, after", [(500, None), (503, None), (504, None), (429, 1)])
def test_server_errors_for_a_while(double, scope, code, after):
    """Retriable ones are retried within the time; Retry-After is kept."""
    scope = f"errors-{code}"
    with Agent(double, "a", scope=scope, retry_timeout=6, ttl=20) as a:
        a.view(8000)
        a.does("touch")
        a.does("acquire")
        double.order(broken=[code, after, 2])
        at = time.monotonic()
        answer = a.does("update", ms=6000)
        assert answer["took_ms"] >= 1000 * 2 * (after or 0.1), answer
        assert time.monotonic() - at < 20
        # not retried: one error is the end of it, and nothing is said of the lock
        double.order(broken=[code, after, 1])
        assert a.call("failover", member="b")["outcome"] != "ok"
        double.order(broken=[code, after, 0])
        # longer than the time allows: unknown or failed, never refused
        double.order(broken=[code, after, 1000])
        answer = a.call("update", ms=2000)
        assert answer["outcome"] in ("failed", "unknown"), answer
        double.order(broken=[code, after, 0])
        a.does("update", ms=8000)


def test_retriable_codes(double, scope):
    """Other codes only when configured; they stay so over a reload."""
    section = dict(double.config(scope), retriable_http_codes="418, 502")
    with Agent(double, "a", scope=scope, section=section, ttl=20) as a:
        a.view(8000)
        a.does("acquire")
        double.order(broken=[501, None, 1])
        assert a.call("update", ms=4000)["outcome"] == "refused"


def test_conflict_on_update(double, scope):
    """Somebody changed the leader object: it is read again, the lock stays ours."""
    with Agent(double, "a", scope=scope, ttl=20) as a:
        a.view(8000)
        a.does("acquire")
        for i in range(3):
            # a foreign annotation, written past the client's watch or not
            double.put(f"/service/{scope}/failsafe", json.dumps({"n": i}))
            a.does("update")
        assert double.get(f"/service/{scope}/leader")[0] == "a"
        double.put(f"/service/{scope}/leader", "b")
        assert a.call("update")["outcome"] == "refused"


def test_forbidden(double, scope):
    """403 is no and is said; for the lock it may pass."""
    with Agent(double, "a", scope=scope, ttl=20, retry_timeout=6) as a:
        a.view(8000)
        a.does("acquire")
        double.order(forbidden=[["patch", "configmaps"], ["create", "configmaps"]])
        assert a.call("failover", member="b")["outcome"] != "ok"
        assert "Permission denied" in a.stderr()
        number = a.send("update", ms=6000)
        time.sleep(0.5)
        double.order(forbidden=[])
        assert a.wait(number)["outcome"] == "ok"


def test_pod_labels(double, scope):
    """Role labels follow the lock and the state; others' labels are kept."""
    section = dict(double.config(scope), leader_label_value="master", tmp_role_label="tmp",
                   bootstrap_labels={"boot": "yes"})
    with Agent(double, "a", scope=scope, section=section, ttl=20) as a:
        a.view(8000)
        a.does("touch", role="replica", state="creating replica")
        labels = pod(double, scope, "a")["metadata"]["labels"]
        assert labels["boot"] == "yes" and "role" not in labels
        a.does("touch", role="replica", state="running")
        labels = pod(double, scope, "a")["metadata"]["labels"]
        assert labels["role"] == labels["tmp"] == "replica" and "boot" not in labels
        a.does("acquire")
        a.does("touch", role="primary", state="running")
        found = pod(double, scope, "a")["metadata"]
        assert found["labels"] == {"application": "patroni", "cluster-name": scope,
                                   "role": "master", "tmp": "primary"}
        status = json.loads(found["annotations"]["status"])
        assert status["role"] == "primary" and status["state"] == "running"
        # unchanged: no request
        version = found["resourceVersion"]
        a.does("touch", role="primary", state="running")
        assert pod(double, scope, "a")["metadata"]["resourceVersion"] == version


def test_label_names_and_values(double, scope):
    """Every name and value of the labels can be another one."""
    section = dict(double.config(scope), scope_label="team", role_label="duty",
                   follower_label_value="copy", standby_leader_label_value="relay")
    with Agent(double, "a", scope=scope, section=section, ttl=20) as a:
        found = {"application": "patroni", "team": scope}
        own = dict(found, **{"cluster-name": scope})  # the pod has it anyway
        double.order(put={"ns": scope, "resource": "pods", "name": "a", "labels": own,
                          "status": {"podIP": "127.0.0.1"}, "spec": {"nodeName": "host"}})
        a.view(8000)
        a.does("touch", role="replica", state="running")
        assert pod(double, scope, "a")["metadata"]["labels"] == dict(own, duty="copy")
        a.does("acquire")
        a.does("touch", role="standby_leader", state="running")
        assert pod(double, scope, "a")["metadata"]["labels"] == dict(own, duty="relay")
        made = double.api(f"/api/v1/namespaces/{scope}/{double.kind}")[1]["items"]
        assert made and all(item["metadata"]["labels"] == found for item in made)


def test_one_request_a_loop(double, scope):
    """The lock, the status and the failsafe topology go together."""
    with Agent(double, "a", scope=scope, ttl=20) as a:
        a.view(8000)
        a.does("acquire")
        before = double.get(f"/service/{scope}/leader")[1]["metadata"]["resourceVersion"]
        a.does("update", optime=77, doc={
            "slots": {"a": 77}, "failsafe": {"a": "http://h/patroni"}})
        found = double.get(f"/service/{scope}/leader")[1]["metadata"]
        notes = found["annotations"]
        assert (notes["optime"], notes["slots"]) == ("77", '{"a":77}')
        assert json.loads(notes["failsafe"]) == {"a": "http://h/patroni"}
        assert int(found["resourceVersion"]) == int(before) + 1


def test_endpoints_carry_the_address():
    """Endpoints: who leads is who is connected to; the config Service is made."""
    with started("kubernetes-endpoints") as store:
        section = dict(store.config("e"), ports=[{"name": "pg", "port": 5433},
                                                 {"name": "pool", "port": 6432}])
        with Agent(store, "a", scope="e", section=section, ttl=20) as a:
            a.view(8000)
            a.does("touch")
            a.does("acquire")
            a.does("config", value='{"ttl": 20}')
            url = "/api/v1/namespaces/e"
            subsets = store.api(f"{url}/endpoints/e")[1]["subsets"]
            assert [(x["ip"], x["targetRef"]["name"]) for x in subsets[0]["addresses"]] == [
                ("127.0.0.1", "a")]
            assert [p["port"] for p in subsets[0]["ports"]] == [5433, 6432]
            wait_for("the service", lambda: store.api(
                f"{url}/services/e-config")[0] == 200, 10)
            a.does("update")
            a.does("release")
            found = store.api(f"{url}/endpoints/e")[1]
            assert found["subsets"] == []
            assert "leader" not in found["metadata"]["annotations"]


def test_bypass(double, scope):
    """The API servers themselves are used, and the service when they are gone."""
    double.order(put={"ns": "default", "resource": "endpoints", "name": "kubernetes",
                      "labels": {}, "subsets": [{
                          "addresses": [{"ip": "127.0.0.1"}],
                          "ports": [{"name": "https", "port": double.client,
                                     "protocol": "TCP"}]}]})
    with started(relay=True) as far:
        # the "service" is a relay that is cut once the servers are known
        far.relay.target = double.client
        section = dict(double.config(scope), bypass_api_service=True)
        section["kubeconfig"] = dict(section["kubeconfig"],
                                     server=f"http://127.0.0.1:{far.relay.port}")
        with Agent(double, "a", scope=scope, section=section, ttl=20) as a:
            a.view(8000)
            wait_for("the servers", lambda: (a.view(), f":{double.client}" in a.call(
                "info")["error"])[1], 10)
            far.relay.set("refuse")
            a.does("acquire", ms=8000)
            a.does("update", ms=8000)


def test_token_rotation(scope):
    """A new token is taken up when the old one is refused; a missing file is borne."""
    with tempfile.TemporaryDirectory() as temporary, started() as store:
        token = pathlib.Path(temporary) / "token"
        token.write_text(TOKEN + "\n")
        section = store.config(scope)
        section["kubeconfig"] = {"server": section["kubeconfig"]["server"],
                                 "tokenFile": str(token)}
        with Agent(store, "a", scope=scope, section=section, ttl=20) as a:
            a.view(8000)
            a.does("acquire")
            store.order(tokens=["another-token", TOKEN])
            store.order(tokens=["another-token"])
            token.write_text("another-token")
            a.does("update", ms=8000)
            os.unlink(token)
            a.does("update", ms=8000)


IN_A_POD = """
set -e
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1"/ca.crt "$1"/token /run/secrets/kubernetes.io/serviceaccount/
export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT="$2"
shift 2
exec "$@"
"""


def test_in_a_pod(scope):
    """Address by the environment, CA and token of the service account, over TLS."""
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/run"], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="patroni-test-"))
    try:
        authority = Authority(directory, "first")
        cert, key = authority.issue("server")
        shutil.copy(authority.cert, directory / "ca.crt")
        (directory / "token").write_text(TOKEN)
        with started(arguments=["--cert", str(cert), "--key", str(key)]) as store:
            prefix = ["unshare", "-Urm", "sh", "-c", IN_A_POD, "sh", str(directory),
                      str(store.client)]
            with Agent(store, "a", scope=scope, section=store.node_config(scope), ttl=20,
                       prefix=prefix) as a:
                a.view(8000)
                a.does("acquire")
                assert a.call("info")["error"].startswith("kubernetes https://127.0.0.1:")
            # another CA: refused, and nothing is sent to such a server
            other = Authority(directory, "other")
            shutil.copy(other.cert, directory / "ca.crt")
            with Agent(store, "a", scope=scope, section=store.node_config(scope), ttl=20,
                       prefix=prefix) as a:
                assert a.call("load", ms=3000)["outcome"] == "failed"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("section, message", [
    ({}, "labels"), ({"labels": {"a": ["x"]}}, "labels"),
    ({"labels": {"a": "b"}}, "kubeconfig"),
    ({"labels": {"a": "b"}, "ports": [{"port": 0}]}, "ports"),
    ({"labels": {"a": "b"}, "retriable_http_codes": "abc"}, "retriable_http_codes")])
def test_bad_options(double, section, message):
    with pytest.raises(ValueError, match=message):
        Agent(double, "a", section=section)


@pytest.mark.parametrize("dcs", ["kubernetes", "kubernetes-endpoints"])
def test_cluster(dcs):
    """Labels follow a switchover; kill -9 of dcs moves nothing; an API server
    that fails for a while moves nothing either."""
    with Cluster(2, dcs={"ttl": 20}, store=dcs) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        other = cluster.replicas()[0]

        def role(node):
            return pod(cluster.etcd, "test", node.name)["metadata"]["labels"].get("role")
        wait_for("the labels", lambda: (role(leader), role(other)) == ("primary", "replica"), 30)
        listed = subprocess.run(
            [str(BUILD / "patronictl"), "-c", str(leader.config), "list"], check=True,
            capture_output=True, text=True, env=dict(os.environ, **leader.environment)).stdout
        assert "Leader" in listed and "streaming" in listed, listed
        postmaster = leader.postmaster()
        helper = leader.helper("dcs")
        os.kill(helper, 9)
        wait_for("another helper", lambda: leader.helper("dcs") != helper, 30)
        made = cluster.leader_key()
        for code, after in ((503, None), (429, 1)):
            cluster.etcd.order(broken=[code, after, 4])
            wait_for("the end of the errors", lambda: cluster.leader() is leader, 30)
        # another token: the helper reads the file inside its sandbox
        cluster.etcd.rotate("another-token")
        time.sleep(12)  # longer than a loop
        assert cluster.leader() is leader and leader.postmaster() == postmaster
        assert cluster.leader_key() == made
        leader.rest("/switchover", "POST", {"leader": leader.name, "candidate": other.name},
                    timeout=60)
        assert cluster.wait_leader(other_than=leader) is other
        wait_for("the labels", lambda: (role(leader), role(other)) == ("replica", "primary"), 60)
