"""The rules of the HA core on real servers: pause, switchover, failsafe mode,
standby cluster, leaving the synchronous set, the decision journal.
"""
import datetime
import json
import signal
import subprocess
import time

import psycopg2
import pytest

from cluster import BUILD, Cluster, kill, wait_for
from ledger import Ledger


@pytest.fixture(scope="module")
def pair():
    """Two nodes that fall through no test: each leaves them healthy."""
    with Cluster(2, dcs={"failsafe_mode": True, "ttl": 20, "loop_wait": 3,
                         "retry_timeout": 3}) as cluster:
        cluster.start()
        yield cluster


def configure(node, **options):
    assert node.rest("/config", "PATCH", options)[0] == 200


def request(cluster, **fields):
    """The /failover key, written as the control tool writes it."""
    cluster.etcd.put("/service/test/failover", json.dumps(fields))


def requested(cluster):
    value, _ = cluster.etcd.get("/service/test/failover")
    return json.loads(value or "{}")


def journal(node):
    out = subprocess.run(
        [str(BUILD / "patronictl"), "-c", str(node.config), "local", "journal",
         "-f", "json"], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(out.stdout)


def test_pause(pair):
    """In pause nothing is started, and a stopped primary costs the lock
    (ha.md 16)."""
    leader = pair.wait_leader()
    configure(leader, pause=True)
    wait_for("pause", lambda: leader.patroni().get("pause"))
    kill(leader.postmaster(), signal.SIGINT)
    wait_for("the key to go", lambda: pair.leader_key()[0] is None, 30)
    start = leader.log_end()
    wait_for("two loops", lambda: len(leader.logged(
        "PAUSE: postgres is not running", start)) >= 2, 30)
    assert leader.postmaster() is None
    assert not any(n.is_leader() for n in pair.nodes)
    configure(pair.nodes[0], pause=None)
    pair.wait_healthy()


def test_daemon_stops_in_pause(pair):
    """The daemon goes, PostgreSQL stays, and is taken over again
    (ha.md 2.5, 16)."""
    leader = pair.wait_leader()
    configure(leader, pause=True)
    wait_for("pause", lambda: leader.patroni().get("pause"))
    postmaster = leader.postmaster()
    assert leader.terminate() == 0
    assert leader.postmaster() == postmaster
    leader.start()
    wait_for("the same leader", leader.is_leader, 60)
    assert leader.postmaster() == postmaster
    configure(leader, pause=None)
    pair.wait_healthy()


def test_switchover(pair):
    """Nothing is lost, and the old leader streams (ha.md 9, 12)."""
    old = pair.wait_leader()
    new = pair.replicas()[0]
    with Ledger(pair) as ledger:
        wait_for("first rows", lambda: len(ledger.acknowledged) > 20)
        request(pair, leader=old.name, member=new.name)
        assert pair.wait_leader(other_than=old) is new
        wait_for("the request to be removed", lambda: not requested(pair))
        pair.wait_healthy()
        ledger.stop()
        # a clean stop hands over all that was committed
        assert ledger.lost(new) == []


def test_scheduled_switchover(pair):
    """At the moment itself, not at the next loop (ha.md 12.4)."""
    old = pair.wait_leader()
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)
    start = old.log_end()
    request(pair, leader=old.name, scheduled_at=at.isoformat())
    wait_for("the schedule", lambda: old.logged("Awaiting switchover at", start), 30)
    assert old.is_leader()
    wait_for("the demotion", lambda: old.logged("switchover: demoting myself", start), 30)
    late = (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()
    assert 0 <= late < 1.5
    pair.wait_leader(other_than=old)
    wait_for("the request to be removed", lambda: not requested(pair))
    pair.wait_healthy()


def test_switchover_refused(pair):
    """A request that names another leader is removed, nothing else happens
    (ha.md 12.2)."""
    leader = pair.wait_leader()
    start = leader.log_end()
    request(pair, leader="nobody")
    wait_for("the refusal", lambda: leader.logged(
        "switchover: leader name does not match: nobody != " + leader.name, start))
    wait_for("the request to be removed", lambda: not requested(pair))
    assert pair.leader() is leader


def test_failsafe(pair):
    """Without the store the primary goes on as long as its member agrees
    (ha.md 8.7, 15)."""
    leader, replica = pair.wait_leader(), pair.replicas()[0]
    pair.etcd.signal(signal.SIGSTOP)
    try:
        wait_for("failsafe mode", lambda: leader.logged(
            "continue to run as a leader because failsafe mode"), 40)
        end = time.monotonic() + 25  # beyond the ttl
        with leader.connect() as connection, connection.cursor() as cursor:
            cursor.execute("create table if not exists outage (n int)")
            while time.monotonic() < end:
                cursor.execute("insert into outage values (1)")
                time.sleep(0.5)
        assert leader.status("/primary") == 200
        assert not replica.writable()
        # one member that does not answer: no agreement any more
        start = leader.log_end()
        replica.signal(signal.SIGSTOP)
        kill(replica.helper("rest"), signal.SIGSTOP)
        wait_for("the demotion", lambda: leader.logged(
            "demoted self because DCS is not accessible", start), 30)
        wait_for("read-only", lambda: not leader.writable(), 30)
    finally:
        pair.etcd.signal(signal.SIGCONT)
        kill(replica.helper("rest"), signal.SIGCONT)
        replica.signal(signal.SIGCONT)
    pair.wait_healthy()
    why = [e["reasons"] for e in journal(leader) if e["rule"] == "dcs.demote"]
    assert f"{replica.name} did not accept" in why[-1]


def test_journal(pair):
    """Why did it fail over?"""
    old = pair.wait_leader()
    request(pair, leader=old.name)
    pair.wait_leader(other_than=old)
    pair.wait_healthy()
    rules = {}
    for node in pair.nodes:
        for entry in journal(node):
            rules.setdefault(entry["rule"], entry)
            assert entry["time_us"] <= entry["last_us"] and entry["times"] >= 1
            assert entry["inputs"].startswith("role=")
    assert "acquire lock" in rules["race.won"]["effects"]
    assert "promote" in rules["race.won"]["effects"]
    assert "stop" in rules["manual.demote"]["effects"]


def test_stop_begins_at_once(pair):
    """SIGTERM while the loop waits for a store that does not answer
    (ha.md 2.5)."""
    replica = pair.replicas()[0]
    pair.etcd.signal(signal.SIGSTOP)
    try:
        time.sleep(4)  # a loop is waiting now
        begin = time.monotonic()
        replica.signal(signal.SIGTERM)
        wait_for("PostgreSQL to be stopped", lambda: replica.postmaster() is None, 30, 0.01)
        assert time.monotonic() - begin < 1.5
    finally:
        pair.etcd.signal(signal.SIGCONT)
    assert replica.process.wait(60) == 0
    replica.start()
    pair.wait_healthy()


def test_standby_cluster():
    """A cluster of one follows another; it is promoted and demoted (ha.md 17)."""
    with Cluster(1) as main:
        main.start()
        primary = main.wait_leader()
        primary.sql("create table t as select 1 as n")
        remote = {"host": "127.0.0.1", "port": primary.pg_port}
        with Cluster(1, dcs={"standby_cluster": remote}) as copy:
            leader = copy.nodes[0].start()
            wait_for("the standby leader", lambda: leader.status("/standby-leader") == 200, 90)
            wait_for("the data", lambda: leader.sql("select n from t") == [(1,)], 30)
            with pytest.raises(psycopg2.Error):
                leader.sql("insert into t values (2)")
            configure(leader, standby_cluster=None)
            wait_for("the promotion", lambda: leader.is_leader() and leader.writable(), 60)
            leader.sql("insert into t values (3)")
            configure(leader, standby_cluster=remote)
            wait_for("the demotion", lambda: leader.logged(
                "cannot be a real primary in standby cluster"), 60)
            # it wrote rows of its own: they are rewound away
            wait_for("the standby leader again",
                     lambda: leader.status("/standby-leader") == 200, 90)
            primary.sql("insert into t values (4)")
            wait_for("the new rows", lambda: leader.sql(
                "select n from t order by n") == [(1,), (4,)], 60)
