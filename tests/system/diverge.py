"""An old leader whose timeline has parted from the new one's."""
import signal

from cluster import children, cmdline, kill, wait_for

# a spread checkpoint would take minutes
FAST = {"postgresql": {"basebackup": [{"checkpoint": "fast"}]}}
# what the old leader wrote last may be known to the store; the other is to
# take over all the same
LAX = {"maximum_lag_on_failover": 1 << 30}


def diverge(cluster, rows=20000):
    """Kill the leader with rows that no standby has; the old leader."""
    old = cluster.wait_healthy()
    receivers = [p for n in cluster.running() if n is not old
                 for p in children(n.postmaster()) if "walreceiver" in cmdline(p)]
    for pid in receivers:
        kill(pid, signal.SIGSTOP)
    old.sql("insert into t select n, repeat('y', 500) from generate_series(1, %s) n" % rows)
    old.kill_tree()
    for pid in receivers:
        kill(pid, signal.SIGCONT)
    new = cluster.wait_leader(other_than=old)
    new.sql("checkpoint")
    new.sql("insert into t select n, repeat('z', 500) from generate_series(1, %s) n" % rows)
    return old, new


def same_rows(cluster):
    counts = wait_for("equal contents", lambda: (
        lambda v: v if len(set(v)) == 1 else None)(
            [n.sql("select count(*), sum(hashtext(x)::bigint) from t")[0]
             for n in cluster.running()]))
    return counts[0]
