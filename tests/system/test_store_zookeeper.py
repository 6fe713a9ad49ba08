"""What only ZooKeeper and Exhibitor have: ensembles, sessions, ACLs, lists."""
import contextlib
import os
import pathlib
import shutil
import socket
import tempfile
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl_credential

import stores
from agent import Agent
from basics import Ports, wait_for
from cluster import Cluster


@contextlib.contextmanager
def started(name="zookeeper", **options):
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
def single():
    with started() as store:
        yield store


def test_tls_is_refused(single):
    """The distribution's client library has none: said, not passed over."""
    with pytest.raises(ValueError, match="has no TLS"):
        Agent(single, "a", section=dict(single.config(), use_ssl=True))


@pytest.mark.parametrize("section, message", [
    ({}, "hosts"), ({"hosts": []}, "hosts"), ({"hosts": "a:b"}, "hosts"),
    ({"hosts": "127.0.0.1", "set_acls": {"world:anyone": ["FLY"]}}, "set_acls"),
    ({"hosts": "127.0.0.1", "auth_data": ["x"]}, "auth_data")])
def test_bad_options(single, section, message):
    with pytest.raises(ValueError, match=message):
        Agent(single, "a", section=section)


def test_acls_and_digest(single):
    """Nodes belong to whoever has the credential, and to nobody else."""
    credential = make_digest_acl_credential("patroni", "secret")
    # below a path of its own: the parents get the ACL, too
    single.client_of().ensure_path("/closed")
    plain = {"hosts": single.hosts()[0] + "/closed"}
    section = dict(plain, auth_data={"digest": "patroni:secret"}, set_acls={
        f"digest:{credential}": ["all"], "world:anyone": ["read"]})
    with Agent(single, "a", scope="acl", section=section) as a, \
            Agent(single, "b", scope="acl", section=plain) as b:
        a.view(8000)
        a.does("touch")
        a.does("acquire")
        a.does("config", value='{"ttl": 30}')
        # no credential: reads, writes nothing
        assert b.leader(8000) == "a"
        assert b.call("config", value="{}")["outcome"] == "refused"
        assert b.call("release")["outcome"] == "refused"
        client = single.client_of()
        acls, _ = client.get_acls("/closed/service/acl/leader")
        assert {(x.id.scheme, x.perms) for x in acls} == {("digest", 31), ("world", 1)}
        with pytest.raises(NoAuthError):
            client.set("/closed/service/acl/config", b"{}")
        a.does("update")


def test_chroot(single):
    single.client_of().ensure_path("/below/here")
    section = {"hosts": ",".join(single.hosts()) + "/below/here"}
    with Agent(single, "a", section=section) as a:
        a.view(8000)
        a.does("acquire")
        assert a.leader() == "a"
        assert single.get("/below/here/service/test/leader")[0] == "a"


def test_names(single):
    """Names are resolved; one that cannot be does not hinder the others."""
    for i, hosts in enumerate(([f"localhost:{single.client}"],
                               ["no-such-name.invalid:1", f"127.0.0.1:{single.client}"])):
        with Agent(single, "a", scope=f"names{i}", section={"hosts": hosts}) as a:
            a.view(12000)
            a.does("acquire")


def test_ipv6():
    """An address of IPv6 stands in brackets."""
    with contextlib.closing(socket.socket(socket.AF_INET6)) as s:
        try:
            s.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    with started(address="::1") as store:
        with Agent(store, "a", section={"hosts": [f"[::1]:{store.client}"]}) as a:
            a.view(8000)
            a.does("acquire")
            assert "::1" in a.call("info")["error"]


def expire(store, session):
    """End a session as the server does: another client takes it and closes it."""
    # kazoo resumes a session by id and password, which only the server knows:
    # without it, the connections of the session are cut until it has expired
    store.relay.set("refuse")
    wait_for("the end of the session", lambda: store.client_of().exists(session) is None, 30)
    store.relay.set("pass")


def test_session_expires_and_is_replaced():
    with started(relay=True) as store:
        with Agent(store, "a", ttl=5) as a, Agent(store, "b", ttl=30) as b:
            a.view(8000)
            a.does("touch")
            a.does("acquire")
            first = store.get("/service/test/leader")[1].ephemeralOwner
            expire(store, "/service/test/leader")
            wait_for("a load", lambda: a.call("load", ms=5000)["outcome"] == "ok", 20)
            # nobody took it: an update makes it anew under the new session
            a.does("update", ms=8000)
            a.does("touch", ms=8000)
            owner = store.get("/service/test/leader")[1].ephemeralOwner
            assert owner not in (0, first)
            assert store.get("/service/test/members/a")[1].ephemeralOwner == owner
            assert b.leader(8000) == "a"
            # and the watches are in force again
            mark = len(a.events)
            b.does("failover", member="b", ms=8000)
            a.event("request", lambda e: e["wake"] == 4, 10, mark)


def test_takeover_is_never_seen_free(single):
    """A successor's lock comes in one transaction: no reader sees the key gone."""
    with Agent(single, "b", scope="take", ttl=20) as b:
        a = Agent(single, "a", scope="take", ttl=20)
        a.view(8000)
        a.does("touch")
        a.does("acquire")
        wait_for("b to see it", lambda: b.leader() == "a", 10)
        gone = []
        client = KazooClient(single.hosts()[0])
        client.start(20)
        client.DataWatch("/service/take/leader",
                         lambda data, stat: gone.append(1) if data is None else None)
        before = single.get("/service/take/leader")[1].ephemeralOwner
        a.kill()
        a.close()
        with Agent(single, "a", scope="take", ttl=20) as successor:
            successor.view(8000)
            successor.does("update")
            after = single.get("/service/take/leader")[1].ephemeralOwner
            assert after != before
            assert single.get("/service/take/members/a")[1].ephemeralOwner == after
            assert b.call("acquire")["outcome"] == "refused"
        client.stop()
        client.close()


def test_lock_lives_by_its_renewals(single):
    """A client that pings but is not told to renew loses lock and member key."""
    with Agent(single, "a", scope="idle", ttl=4) as a, Agent(single, "b", scope="idle") as b:
        a.view(8000)
        b.view(8000)
        a.does("touch")
        a.does("acquire")
        wait_for("b to see it", lambda: b.leader() == "a", 10)
        at = time.monotonic()
        wait_for("the end of the lock", lambda: b.view()["unlocked"], 15)
        assert time.monotonic() - at > 2
        wait_for("the end of the member", lambda: not b.view()["members"], 15)
        assert a.view(8000)["unlocked"]
        b.does("acquire")
        assert a.call("update")["outcome"] == "refused"
        a.does("touch")


def test_no_takeover_without_proof(single):
    """The lock of a session that cannot be shown to live is left alone."""
    with Agent(single, "a", scope="proof", ttl=20) as a:
        a.view(8000)
        # a lock in our name whose member key is not there
        client = KazooClient(single.hosts()[0])
        client.start(20)
        client.create("/service/proof/leader", b"a", ephemeral=True, makepath=True)
        answer = a.call("update")
        assert answer["outcome"] == "refused" and "cannot be shown" in answer["error"], answer
        client.stop()
        client.close()
        a.does("update", ms=8000)


def test_ensemble_loses_its_leader():
    """Three servers: whichever goes, the session and the lock stay."""
    with started(servers=3) as store:
        with Agent(store, "a", ttl=15) as a, Agent(store, "b", ttl=15) as b:
            a.view(8000)
            b.view(8000)
            a.does("touch")
            a.does("acquire")
            owner = store.get("/service/test/leader")[1].ephemeralOwner
            for _ in range(2):
                gone = store.leader()
                gone.stop()
                wait_for("an update", lambda: a.call("update", ms=6000)["outcome"] == "ok", 20)
                assert b.call("acquire", ms=8000)["outcome"] == "refused"
                assert store.get("/service/test/leader")[1].ephemeralOwner == owner
                gone.start()
                wait_for("the ensemble", store.ready, 60)
            # without a majority nothing is said
            for s in store.servers[:2]:
                s.stop()
            # (the one that is left needs a tick or two to notice)
            wait_for("the end", lambda: a.call("update", ms=3000)["outcome"] in (
                "failed", "unknown"), 15)


def test_exhibitor_list_changes():
    """Another port in the list is used as soon as the old connection ends."""
    with started("exhibitor") as store, started() as other:
        with Agent(store, "a", scope="list", ttl=10) as a:
            a.view(10000)
            a.does("acquire")
            for broken in (b"not JSON", b'{"servers": [], "port": 1}', b'{"servers": ["a b"], '
                           b'"port": 2181}', b'{"servers": ["x"], "port": 99999}'):
                store.exhibitor.garbage = broken
                asked = store.exhibitor.requests
                wait_for("a poll", lambda n=asked: (a.view(), store.exhibitor.requests > n)[1], 10)
                a.does("update")
            store.exhibitor.garbage = None
            store.exhibitor.failing = True
            a.does("update")
            store.exhibitor.failing = False
            store.exhibitor.client_port = other.client
            wait_for("the news", lambda: (a.view(), "connection string has changed" in a.stderr()
                                          and str(other.client) in a.stderr())[1], 10)
            a.does("update")  # the connection that is there is kept
            store.stop()
            wait_for("the other server", lambda: a.call("update", ms=5000)["outcome"] == "ok", 40)
            assert other.get("/service/list/leader")[0] == "a"


@pytest.mark.parametrize("dcs", ["zookeeper", "exhibitor"])
def test_cluster_without_its_helper(dcs):
    """kill -9 of dcs: the successor takes the lock over; nothing else happens."""
    with Cluster(2, dcs={"ttl": 20}, store=dcs) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        postmaster = leader.postmaster()
        other = cluster.replicas()[0]
        promoted = len(other.logged("promoted self"))
        for _ in range(2):
            before = cluster.etcd.get("/service/test/leader")[1].ephemeralOwner
            helper = leader.helper("dcs")
            os.kill(helper, 9)
            wait_for("another helper", lambda h=helper: leader.helper("dcs") != h, 30)
            wait_for("its session on the lock", lambda b=before: cluster.etcd.get(
                "/service/test/leader")[1].ephemeralOwner != b, 20)
        time.sleep(cluster.etcd.expiry(0))
        assert cluster.leader() is leader
        assert leader.postmaster() == postmaster
        assert len(other.logged("promoted self")) == promoted
        assert not leader.logged("demot")
