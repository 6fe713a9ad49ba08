"""Every key that this part of the project gives a meaning has a test that
uses it; the table is printed by tests/tools/conf_keys.py."""
import sys

from cluster import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import conf_keys  # noqa: E402

WITHOUT_EFFECT = {
    "thread_pool_size", "thread_stack_size",
    # the ZooKeeper client of the distribution has no TLS: use_ssl is refused
    *(f"{section}.{key}" for section in ("zookeeper", "exhibitor")
      for key in ("cacert", "cert", "key", "key_password", "verify"))}
NO_DRIVER = "raft."  # such a section ends the start


def test_every_key_has_a_test():
    table = conf_keys.table()
    assert len(table) > 300
    untested = [key for key, tests in table.items()
                if not tests and not key.startswith(NO_DRIVER) and key not in WITHOUT_EFFECT]
    assert untested == []
