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
