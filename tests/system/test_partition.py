"""Links between three nodes and their store are cut in every pattern, also in
one direction, while each node is written to by a client of its own.

Whatever is cut: no row acknowledged is ever lost, and no two reigns (a node
on a timeline) accept commits at the same time.  The clients sit on the nodes,
where no partition can hide an old primary from them (ha.md 23).

Needs root (network namespaces); check.sh runs it in check-long.
PARTITION_ROUNDS and PARTITION_SEED govern the random part.
"""
import itertools
import json
import os
import random
import threading
import time

import psycopg2
import pytest

import netns
from cluster import wait_for

WHY_NOT = netns.possible()
pytestmark = [
    pytest.mark.skipif(not os.environ.get("LONG"), reason="minutes: LONG=1"),
    pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
]
TTL = 20
ROUNDS = int(os.environ.get("PARTITION_ROUNDS", "6"))
SEED = int(os.environ.get("PARTITION_SEED", "1"))


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Client(threading.Thread):
    """Writes to one node, over its Unix socket, whenever it takes writes."""

    def __init__(self, node, number):
        super().__init__(daemon=True)
        self.node = node
        self.next = number * 10**9
        self.commits = []  # (row, timeline, sent, acknowledged)
        self.ended = threading.Event()

    def connect(self):
        connection = psycopg2.connect(
            host=str(self.node.dir), port=self.node.pg_port, user="postgres",
            dbname="postgres", connect_timeout=5)
        connection.autocommit = True
        return connection

    def commit(self, cursor):
        self.next += 1
        sent = now()
        cursor.execute(
            "insert into ledger values (%s)"
            " returning substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)", (self.next,))
        timeline = int(cursor.fetchone()[0], 16)
        # a wait for the standby that was cut short succeeds with a warning
        if not cursor.connection.notices:
            self.commits.append((self.next, timeline, sent, now()))
        cursor.connection.notices.clear()

    def run(self):
        connection = None
        while not self.ended.is_set():
            try:
                connection = connection or self.connect()
                with connection.cursor() as cursor:
                    self.commit(cursor)
                self.ended.wait(0.004)
            except psycopg2.Error:
                if connection is not None:
                    connection.close()
                connection = None
                self.ended.wait(0.02)


class Load:
    """A client on every node, and what their commits prove."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.clients = [Client(node, i + 1) for i, node in enumerate(cluster.nodes)]

    def __enter__(self):
        self.cluster.wait_leader().sql("create table ledger (n bigint primary key)")
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.ended.set()
        for client in self.clients:
            client.join(30)

    def count(self):
        return sum(len(client.commits) for client in self.clients)

    def lost(self, leader):
        acknowledged = {c[0] for client in self.clients for c in list(client.commits)}
        return sorted(acknowledged - {row[0] for row in leader.sql("select n from ledger")})

    def reigns(self):
        """(first acknowledgement, last sending, node, timeline), by time: the
        least span in which that primary took commits."""
        spans = {}
        for client in self.clients:
            for _, timeline, sent, acknowledged in list(client.commits):
                key = (client.node.name, timeline)
                first, last = spans.get(key, (acknowledged, sent))
                spans[key] = min(first, acknowledged), max(last, sent)
        return sorted((first, last, *key) for key, (first, last) in spans.items())

    def check(self):
        leader = self.cluster.wait_leader()
        assert self.lost(leader) == []
        reigns = self.reigns()
        for before, after in itertools.pairwise(reigns):
            assert before[1] < after[0], f"two primaries took commits at once: {before}, {after}"
            assert before[3] < after[3], f"timelines out of order: {before}, {after}"


MODES = {
    "priority": {"synchronous_mode": True},
    "quorum": {"synchronous_mode": "quorum"},
    "failsafe": {"synchronous_mode": True, "failsafe_mode": True},
}


@pytest.fixture(scope="module", params=MODES, name="hosts")
def fixture_hosts(request):
    dcs = {"ttl": TTL, "loop_wait": 2, "retry_timeout": 3, **MODES[request.param]}
    # a peer that vanished without a word is noticed in time
    extra = {"postgresql": {"parameters": {"wal_sender_timeout": "5s",
                                           "wal_receiver_timeout": "5s"}}}
    with netns.PlacedCluster(3, dcs=dcs, extra=extra) as cluster:
        cluster.mode = request.param
        cluster.start()
        with Load(cluster) as cluster.load:
            wait_for("first rows", lambda: cluster.load.count() > 100)
            yield cluster


def both(links):
    return {*links, *((b, a) for a, b in links)}


def synchronous(cluster):
    """The standby that holds every acknowledged row."""
    return next((n for n in cluster.replicas() if n.patroni().get(
        "sync_standby") or n.patroni().get("quorum_standby")), None)


def roles(cluster):
    """Host numbers: leader, its synchronous standby, the other one, store."""
    leader = cluster.wait_leader()
    standby = wait_for("a synchronous standby", lambda: synchronous(cluster))
    other = next(n for n in cluster.nodes if n not in (leader, standby))
    return leader.number, standby.number, other.number, cluster.store


def settle(cluster):
    """All links work again: so does the cluster, and nothing is lost."""
    cluster.network.heal()
    cluster.wait_healthy()
    before = cluster.load.count()
    wait_for("commits", lambda: cluster.load.count() > before + 50)
    cluster.load.check()


def hold(cluster, links, expected):
    """Cut until what is expected has come true."""
    cluster.network.cut(links)
    try:
        wait_for("what this partition leads to", expected, 4 * TTL)
    finally:
        settle(cluster)


def takes_over(cluster, old):
    return lambda: cluster.leader() not in (None, cluster.nodes[old - 1])


APART = "leader and other from the rest"

# what is cut, seen from leader l, synchronous standby s, other o, store d
DEPOSED = {
    "leader from the store": lambda l, s, o, d: both({(l, d)}),
    "what the leader sends to the store": lambda l, s, o, d: {(l, d)},
    "what the store sends to the leader": lambda l, s, o, d: {(d, l)},
    "leader from everything": lambda l, s, o, d: both({(l, d), (l, s), (l, o)}),
    "what everybody sends to the leader": lambda l, s, o, d: {(d, l), (s, l), (o, l)},
    APART: lambda l, s, o, d: both({(l, d), (o, d), (l, s), (o, s)}),
}
KEPT = {
    "standby from the leader": lambda l, s, o, d: both({(l, s)}),
    "what the standby sends to the leader": lambda l, s, o, d: {(s, l)},
    "what the leader sends to the standby": lambda l, s, o, d: {(l, s)},
    "both standbys from the leader": lambda l, s, o, d: both({(l, s), (l, o)}),
    "standby from everything": lambda l, s, o, d: both({(s, d), (s, l), (s, o)}),
    "standbys from the store": lambda l, s, o, d: both({(s, d), (o, d)}),
}


@pytest.mark.parametrize("what", DEPOSED)
def test_leader_is_replaced(hosts, what):
    where = roles(hosts)
    if hosts.mode == "failsafe" and "the store" in what:
        pytest.skip("failsafe mode: all members answer, the leader goes on")
    if hosts.mode == "quorum" and what == APART:
        votes_elsewhere(hosts, where)
    else:
        hold(hosts, DEPOSED[what](*where), takes_over(hosts, where[0]))


def votes_elsewhere(hosts, where):
    """Leader and other can acknowledge without the standby, until the leader
    has stopped: with one vote to win, and nobody to give it, it may not lead."""
    leader, standby, other, _ = where
    old = hosts.nodes[leader - 1]
    names = {hosts.nodes[standby - 1].name, hosts.nodes[other - 1].name}

    def agreed():
        value, _ = hosts.etcd.get(f"/service/{hosts.scope}/sync")
        document = json.loads(value or "{}")
        return document.get("leader") == old.name and document.get("quorum") == 1 and \
            set((document.get("sync_standby") or "").split(",")) == names

    wait_for("both standbys in /sync", agreed, 60)
    hosts.network.cut(DEPOSED[APART](*where))
    end = now() + 3 * TTL
    try:
        wait_for("the leader to stop", lambda: not old.writable(), 4 * TTL)
        wait_for("the time in which the standby would have led", lambda: (
            now() > end or hosts.leader() is not None), 4 * TTL)
        assert hosts.leader() is None
    finally:
        settle(hosts)


@pytest.mark.parametrize("what", KEPT)
def test_leader_goes_on(hosts, what):
    """It keeps its lock, and commits do not wait for who is cut off."""
    where = roles(hosts)
    leader = hosts.nodes[where[0] - 1]
    client = hosts.load.clients[where[0] - 1]
    hosts.network.cut(KEPT[what](*where))
    end = now() + TTL + 5
    try:
        wait_for("commits after the ttl", lambda: now() > end and any(
            c[2] > end for c in client.commits[-5:]), 3 * TTL)
        assert hosts.leader() is leader
    finally:
        settle(hosts)


def test_store_alone(hosts):
    """Nobody reaches the store: nobody leads, except in failsafe mode."""
    leader, standby, other, store = roles(hosts)
    links = both({(leader, store), (standby, store), (other, store)})
    primary = hosts.nodes[leader - 1]
    if hosts.mode != "failsafe":
        hold(hosts, links, lambda: not primary.writable())
        return
    hosts.network.cut(links)
    client, end = hosts.load.clients[leader - 1], now() + TTL + 5
    try:
        wait_for("commits after the ttl", lambda: now() > end and any(
            c[2] > end for c in client.commits[-5:]), 3 * TTL)
    finally:
        settle(hosts)


def test_random_patterns(hosts):
    """Any subset of the links, held or changed again after any time."""
    moments = random.Random(f"{SEED} {hosts.mode}")
    links = [(a, b) for a in range(1, 5) for b in range(1, 5) if a != b]
    for number in range(ROUNDS):
        history = []
        for _ in range(moments.randint(1, 3)):
            share = moments.choice([0.15, 0.3, 0.5, 0.8])
            cut = {link for link in links if moments.random() < share}
            if moments.random() < 0.5:
                cut = both(cut)
            seconds = moments.choice([0.5, 3, 8, TTL, 1.5 * TTL])
            history.append((seconds, sorted(cut)))
            hosts.network.cut(cut)
            threading.Event().wait(seconds)
        print(f"round {number}: {history}")
        settle(hosts)
