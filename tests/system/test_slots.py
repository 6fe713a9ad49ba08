"""Permanent slots: physical and logical ones exist on every node that may
lead, and a logical consumer goes on after a failover without a loss."""
import re

import pytest

from cluster import Cluster, wait_for

SLOTS = {
    "consumer": {"type": "logical", "database": "postgres", "plugin": "test_decoding"},
    "archive": {"type": "physical"},
}
DCS = {"loop_wait": 2, "ttl": 20, "slots": SLOTS,
       "ignore_slots": [{"name": "foreign", "type": "physical"}],
       "postgresql": {"use_pg_rewind": True, "parameters": {
           "wal_level": "logical", "wal_keep_size": "64MB", "fsync": "off",
           "max_connections": 60, "shared_buffers": "16MB"}}}
FAST = {"postgresql": {"basebackup": [{"checkpoint": "fast"}]}}


@pytest.fixture
def pair():
    with Cluster(2, dcs=DCS, extra=FAST) as cluster:
        cluster.start()
        yield cluster


def slots(node):
    return {r[0]: r[1] for r in node.sql("select slot_name, slot_type from pg_replication_slots")}


def flushed(node):
    return node.sql("select (confirmed_flush_lsn - '0/0')::bigint from pg_replication_slots"
                    " where slot_name = 'consumer'")[0][0]


def consume(node):
    """Numbers that the slot delivers and confirms."""
    rows = node.sql("select data from pg_logical_slot_get_changes('consumer', null, null)")
    return [int(m.group(1)) for r in rows
            for m in [re.match(r"table public\.t: INSERT: n\[integer\]:(\d+)", r[0])] if m]


def ready(node):
    return "consumer" in slots(node) and node.logged(
        "Logical slot consumer is safe to be used after a failover")


def test_consumer_survives_failover(pair):
    leader = pair.wait_leader()
    standby = pair.replicas()[0]
    wait_for("slots on the leader", lambda: {"consumer", "archive"} <= set(slots(leader)), 30)
    leader.sql("create table t (n int)")
    leader.sql("insert into t select generate_series(1, 100)")
    seen = consume(leader)
    assert seen == list(range(1, 101))
    wait_for("the slot on the standby", lambda: slots(standby).get("consumer") == "logical", 60)
    assert slots(standby).get("archive") == "physical"
    assert standby.sql("show hot_standby_feedback")[0][0] == "on"
    wait_for("its readiness", lambda: ready(standby), 60)
    # confirmed by the consumer: the standby follows
    leader.sql("insert into t select generate_series(101, 200)")
    seen += consume(leader)
    done = flushed(leader)
    leader.sql("create table other as select 1")
    wait_for("the slot to advance", lambda: flushed(standby) >= done, 60)
    # not confirmed yet: must come after the failover
    leader.sql("insert into t select generate_series(201, 300)")
    position = leader.sql("select pg_current_wal_flush_lsn()")[0][0]
    wait_for("the rows on the standby", lambda: standby.sql(
        "select pg_last_wal_replay_lsn() >= %s", position)[0][0], 30)
    leader.kill_tree()
    new = pair.wait_leader(other_than=leader)
    assert not new.logged("might be unsafe to use after promote")
    new.sql("insert into t select generate_series(301, 400)")
    got = wait_for("changes", lambda: consume(new), 30)
    assert got == sorted(got)
    assert set(seen) | set(got) == set(range(1, 401))
    assert min(got) <= 201
    # the old leader comes back and can take over in its turn
    start = leader.log_end()
    leader.start()
    pair.wait_healthy()
    wait_for("the slot on the old leader", lambda: "consumer" in slots(leader), 60)
    wait_for("its readiness", lambda: leader.logged(
        "Logical slot consumer is safe", start), 60)


def test_slots_that_are_not_wanted(pair):
    leader = pair.wait_leader()
    standby = pair.replicas()[0]
    for node in (leader, standby):
        node.sql("select pg_create_physical_replication_slot('foreign', true)")
        node.sql("select pg_create_physical_replication_slot('unknown', true)")
    for node in (leader, standby):
        wait_for("the unknown slot to go", lambda node=node: "unknown" not in slots(node), 30)
        # a standby may be starting anew with copied slots at this moment
        wait_for("the ignored slot", lambda node=node: "foreign" in slots(node), 30)
    wait_for("the slot", lambda: "consumer" in slots(leader), 30)
    # another plugin: dropped and made again
    status, text = leader.rest("/config", "PATCH", {"slots": {
        "consumer": {"type": "logical", "database": "postgres", "plugin": "pgoutput"}}})
    assert status == 200, text
    wait_for("the new plugin", lambda: leader.sql(
        "select plugin from pg_replication_slots where slot_name = 'consumer'")[0][0]
        == "pgoutput", 30)
    status, text = leader.rest("/config", "PATCH", {"slots": None})
    assert status == 200, text
    for node in (leader, standby):
        wait_for("no permanent slots", lambda node=node:
                 not {"consumer", "archive"} & set(slots(node)), 30)
    wait_for("no forced feedback", lambda: standby.sql("show hot_standby_feedback")[0][0]
             == "off", 30)


def feedback(node):
    return node.sql("show hot_standby_feedback")[0][0]


def positions(node):
    return dict(node.sql("select slot_name, (restart_lsn - '0/0')::bigint"
                         " from pg_replication_slots"))


def active(node):
    return {r[0] for r in node.sql("select slot_name from pg_replication_slots where active")}


def test_cascade_and_absent_members():
    """c streams from b; both could take over for the logical consumer."""
    dcs = dict(DCS, member_slots_ttl="10s", slots={"consumer": SLOTS["consumer"]})
    with Cluster(3, dcs=dcs, extra=FAST, tags={"c": {"replicatefrom": "b"}}) as cluster:
        cluster.nodes[0].start()
        a, b, c = cluster.nodes
        wait_for("a leader", a.is_leader, 60)
        # a copy begins with new WAL: the consumer's slot, older than that of b,
        # needs what b will not have
        wait_for("the consumer's slot", lambda: "consumer" in slots(a), 60)
        b.start()
        wait_for("b", b.streams, 90)
        c.start()
        wait_for("c", c.streams, 90)
        wait_for("c below b", lambda: "c" in active(b) and "b" in active(a), 60)
        assert "c" not in active(a)
        # the leader keeps a copy of the slot of a member that streams elsewhere
        wait_for("c's slot on a", lambda: "c" in slots(a), 30)
        # what the consumer has not confirmed yet is older than the copies
        wait_for("a remark", lambda: b.logged("Logical slot consumer is not copied yet"), 60)
        a.sql("create table t (n int)")
        done, seen = [], []

        def consumed():
            """The consumer goes on until the others can keep up with it."""
            n = len(done) + 1
            a.sql("insert into t select %s", n)
            a.sql("checkpoint")
            seen.extend(consume(a))
            done.append(flushed(a))
            return all("consumer" in slots(n) for n in (b, c))
        wait_for("the logical slots", consumed, 90, every=1)
        assert seen == list(range(1, len(done) + 1))
        for node in (b, c):
            # b must pass on what c needs
            wait_for("feedback", lambda node=node: feedback(node) == "on", 30)
            wait_for("readiness", lambda node=node: ready(node), 90)
        a.sql("insert into t select generate_series(1001, 1100)")
        assert consume(a) == list(range(1001, 1101))
        done = flushed(a)
        before = positions(a)["c"]
        a.sql("create table other as select 1")
        for node in (b, c):
            wait_for("the slot to advance", lambda node=node: flushed(node) >= done, 60)
        wait_for("the idle slot to advance", lambda: positions(a)["c"] > before, 60)
        # gone: its slots stay as long as member_slots_ttl says, then go
        assert c.terminate() == 0
        assert "c" in slots(a) and "c" in slots(b)
        wait_for("the slot of a member that stays away to go",
                 lambda: "c" not in slots(a) and "c" not in slots(b), 90)
        assert "b" in active(a)
        c.start()
        wait_for("c", c.streams, 90)


def test_slots_of_a_standby_cluster():
    wanted = {"both": {"type": "physical"},
              "here": {"type": "physical", "cluster_type": "standby"},
              "there": {"type": "physical", "cluster_type": "primary"},
              "decoding": SLOTS["consumer"]}
    with Cluster(1, dcs=dict(DCS, slots=dict(wanted, copy={"type": "physical"})),
                 extra=FAST) as source:
        source.start()
        primary = source.nodes[0]
        wait_for("its slots", lambda: set(slots(primary)) >= {"both", "there", "decoding", "copy"}, 30)
        assert "here" not in slots(primary)
        with Cluster(2, extra=FAST, dcs=dict(DCS, slots=wanted, standby_cluster={
                "host": "127.0.0.1", "port": primary.pg_port, "primary_slot_name": "copy"})) as copy:
            a, b = copy.nodes
            a.start()
            wait_for("the standby leader", lambda: a.status("/standby-leader") == 200, 90)
            b.start()
            wait_for("its replica", b.streams, 90)
            wait_for("the slot in use", lambda: "copy" in active(primary), 30)
            # no way to the primary: no logical slots, none of the other kind
            wait_for("slots of a", lambda: set(slots(a)) == {"b", "both", "here"}, 60)
            wait_for("slots of b", lambda: set(slots(b)) == {"a", "both", "here"}, 60)
            assert "b" in active(a)
            assert feedback(a) == feedback(b) == "off"
