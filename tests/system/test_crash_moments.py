"""The controller is killed while data directories are made, rewound or
configured; whatever is left half-way, the node recovers by itself."""
import json
import os
import random
import shutil
import signal
import time

import pytest

from cluster import PG_BIN, Cluster, children, cmdline, kill, wait_for
from diverge import FAST, LAX, diverge, same_rows

# how many moments of each kind; more of them in the long run
MOMENTS = int(os.environ.get("MOMENTS", "1"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)


@pytest.fixture
def chance():
    print(f"SEED={SEED}")
    return random.Random(SEED)


def running(node, program):
    """Pids of a program below the node's daemon."""
    return [p for p in children(node.pid) if cmdline(p).split("\0")[0].split(" ")[0]
            .endswith("/" + program)]


def kill_controller(node):
    kill(node.helper("postgres"), signal.SIGKILL)


def test_controller_killed_during_bootstrap(chance):
    for delay in [chance.uniform(0, 2) for _ in range(2 * MOMENTS)]:
        with Cluster(1) as cluster:
            node = cluster.nodes[0].start()
            node.helper("postgres")
            time.sleep(delay)
            kill_controller(node)
            # the daemon ends after a failed bootstrap, as its unit would
            # have it started again
            def leads():
                if node.process.poll() is not None:
                    node.start()
                return node.is_leader() and node.writable()
            wait_for("a leader", leads, 60)
            node.sql("create table t as select 1")


def test_controller_killed_during_basebackup(chance):
    with Cluster(2, extra=FAST) as cluster:
        cluster.start()
        leader, node = cluster.nodes
        leader.sql("create table t as select n, repeat('x', 500) from generate_series(1, 100000) n")
        for program in ("controller", "pg_basebackup") * MOMENTS:
            assert node.terminate() == 0
            shutil.rmtree(node.data)
            start = node.log_end()
            node.start()
            victim = wait_for("pg_basebackup", lambda: running(node, "pg_basebackup"), every=0.005)[0]
            time.sleep(chance.uniform(0, 0.4))
            if program == "controller":
                kill_controller(node)
            else:
                kill(victim, signal.SIGKILL)
            cluster.wait_healthy()
            assert node.sql("select count(*) from t") == [(100000,)]
            assert node.logged("replica has been created using basebackup", start)
        assert not list(node.dir.glob("data.*"))


@pytest.fixture
def pair():
    with Cluster(2, extra=FAST, dcs=LAX) as cluster:
        cluster.start()
        cluster.wait_leader().sql("create table t (n int, x text)")
        yield cluster


def test_controller_killed_during_rewind(pair, chance):
    torn = 0
    for i in range(2 * MOMENTS):
        old, new = diverge(pair)
        start = old.log_end()
        old.start()
        wait_for("pg_rewind", lambda: running(old, "pg_rewind"), every=0.002)
        time.sleep(chance.uniform(0, 0.25))
        victims = running(old, "pg_rewind")
        if i % 2 and victims:
            kill(victims[0], signal.SIGKILL)
        else:
            kill_controller(old)
        pair.wait_healthy()
        same_rows(pair)
        torn += len(old.logged("pg_rewind of .* was cut off", start))
        assert not list(old.dir.glob("data.*"))
    print(f"{torn} directories were created anew")


def test_rewind_cut_off_half_way_is_never_started(pair):
    """No more than 100 blocks may be written: like a disk that is full."""
    wrapper = pair.dir / "pg_rewind"
    wrapper.write_text(f"#!/bin/sh\nulimit -f 100\nexec {PG_BIN}/pg_rewind \"$@\"\n")
    wrapper.chmod(0o755)
    old, new = diverge(pair)
    old.write_config(extra={"postgresql": dict(
        FAST["postgresql"], bin_name={"pg_rewind": str(wrapper)})})
    start = old.log_end()
    old.start()
    pair.wait_healthy()
    assert old.logged("pg_rewind of .* was cut off", start)
    assert old.logged("replica has been created using basebackup", start)
    same_rows(pair)


def test_mark_of_another_directory_is_not_believed(pair):
    node = pair.replicas()[0]
    assert node.terminate() == 0
    (node.dir / "data.rewinding").write_text("1:2\n")
    start = node.log_end()
    node.start()
    pair.wait_healthy()
    assert not node.logged("replica has been created", start)
    assert not (node.dir / "data.rewinding").exists()


def test_controller_killed_while_configuration_is_written(pair, chance):
    leader = pair.wait_leader()
    last = 4 * MOMENTS
    for i in range(last):
        body = {"postgresql": {"parameters": {"work_mem": f"{4 + i}MB"}}}
        assert leader.rest("/config", "PATCH", body)[0] == 200
        time.sleep(chance.uniform(0, 0.03))
        node = chance.choice(pair.nodes)
        kill_controller(node)
        for n in pair.nodes:
            wait_for("the setting", lambda n=n: n.sql("show work_mem")[0][0] == f"{4 + i}MB", 60)
    document = json.loads(leader.rest("/config")[1])
    assert document["postgresql"]["parameters"]["work_mem"] == f"{3 + last}MB"
