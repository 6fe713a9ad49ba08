#!/usr/bin/python3
"""Each store beside etcd v3: requests per loop, idle, and time to a failover.

Usage: stores.py BUILD-DIRECTORY [STORE ...]
A cluster of two nodes per store, every node behind a relay of its own that
counts.  Stores that cannot be started here are left out, and named.
"""
import json
import os
import pathlib
import re
import sys
import time

os.environ["BUILD"] = sys.argv[1] if len(sys.argv) > 1 else "build"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import stores  # noqa: E402
from cluster import Cluster, Node, wait_for  # noqa: E402
from relay import Relay  # noqa: E402

TIMES = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
LOOPS = 8


class Counted(Node):
    """A node that reaches the store through a relay."""

    def write_config(self, tags=None, extra=None):
        store = self.cluster.etcd
        self.relay = Relay(self.cluster.ports.take(), store.port, store.describe)
        self.relay.start()
        section = json.loads(json.dumps(store.config()).replace(
            str(store.port), str(self.relay.port)))
        if store.section.startswith("etcd"):
            section["use_proxies"] = True  # or the members' own address is used
        super().write_config(tags, {store.section: section})


def settled(cluster):
    """No news in the store for a while: slots, status and members are written."""
    def still():
        before = {n: len(n.relay.requests) for n in cluster.nodes}
        time.sleep(2 * TIMES["loop_wait"])
        return all(len(n.relay.requests) - before[n] <= 2 * 8 for n in cluster.nodes)
    wait_for("an idle cluster", still, 120)


def measure(name):
    with Cluster(0, dcs=TIMES, store=name) as cluster:
        for node in "ab":
            cluster.nodes.append(Counted(cluster, node))
        cluster.start()
        leader = cluster.wait_leader()
        replica = next(n for n in cluster.nodes if n is not leader)
        settled(cluster)
        start = time.monotonic()
        time.sleep(LOOPS * TIMES["loop_wait"])
        common = cluster.etcd.relay
        counts = [r.count(start) / LOOPS for r in (leader.relay, replica.relay, common)]
        kinds = {}
        for _, text in [r for r in common.requests if r[0] >= start]:
            word = re.sub(r"[?].*|[0-9a-f-]{36}", "", text)
            kinds[word] = kinds.get(word, 0) + 1
        at = time.monotonic()
        leader.kill_tree()
        cluster.wait_leader(other_than=leader)
        lost = time.monotonic() - at
        leader.start()
        cluster.wait_healthy()
        old = cluster.wait_leader()
        new = next(n for n in cluster.nodes if n is not old)
        at = time.monotonic()
        status, text = old.rest("/switchover", "POST",
                                {"leader": old.name, "candidate": new.name}, timeout=60)
        assert status == 200, text
        wait_for("the new leader", new.writable, 60, every=0.01)
        switched = time.monotonic() - at
        for node in cluster.nodes:
            node.relay.close()
        return counts, lost, switched, kinds


made = stores.new
stores.new = lambda name, directory, ports: made(name, directory, ports, relay=True)


def main():
    names = sys.argv[2:] or sorted({*stores.STORES, *stores.MODULES})
    rows, left_out = [], []
    for name in names:
        try:
            rows.append((name, *measure(name)))
        except Exception as error:  # pylint: disable=broad-except
            left_out.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    print(f"ttl {TIMES['ttl']} s, loop_wait {TIMES['loop_wait']} s, {LOOPS} idle loops")
    print(f"{'':<22}{'requests per loop':^30}")
    print(f"{'store':<22}{'leader':>10}{'replica':>10}{'both':>10}{'node loss':>12}"
          f"{'switchover':>12}")
    for name, counts, lost, switched, _ in rows:
        # a node whose store is found by other ways than its section
        one = [f"{c:.2f}" if any(counts[:2]) else "-" for c in counts[:2]]
        print(f"{name:<22}{one[0]:>10}{one[1]:>10}{counts[2]:>10.2f}{lost:>10.1f} s"
              f"{switched:>10.2f} s")
    for name, _, _, _, kinds in rows:
        print(f"{name}: " + ", ".join(f"{n} x {w}" for w, n in sorted(kinds.items())))
    for text in left_out:
        print(f"left out: {text}")
    return 1 if left_out else 0


sys.exit(main())
