"""Every key that this part of the project gives a meaning has a test that
uses it; the table is printed by tests/tools/conf_keys.py."""
import sys

from cluster import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import conf_keys  # noqa: E402

# their sections have suites of their own (tests of the stores' drivers, of the
# REST interface and of the log), or the key is accepted without effect
ELSEWHERE = ("consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper",
             "log", "restapi", "ctl")
WITHOUT_EFFECT = {"thread_pool_size", "thread_stack_size"}


def test_every_key_has_a_test():
    table = conf_keys.table()
    assert len(table) > 300
    untested = [key for key, tests in table.items()
                if not tests and key.split(".")[0] not in ELSEWHERE
                and key not in WITHOUT_EFFECT]
    assert untested == []
