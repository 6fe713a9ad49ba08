"""Fixtures, and the table driver x test at the end of a run."""
import re

import pytest

from cluster import Cluster


@pytest.fixture
def three():
    """A healthy cluster of three nodes."""
    with Cluster(3) as cluster:
        cluster.start()
        yield cluster


def pytest_terminal_summary(terminalreporter):
    """What each driver kept of the contract (conformance.py)."""
    table, stores = {}, []
    for outcome, mark in (("passed", "ok"), ("failed", "FAILED"), ("error", "ERROR"),
                          ("skipped", "-")):
        for report in terminalreporter.stats.get(outcome, []):
            match = re.search(r"test_conformance_(\w+)\.py::test_(.+)", report.nodeid)
            if match and (report.when == "call" or outcome != "passed"):
                store, test = match.groups()
                table.setdefault(test, {})[store] = mark
                if store not in stores:
                    stores.append(store)
    if not table:
        return
    stores.sort()
    terminalreporter.write_line(f"{'driver x test':<30}" + "".join(f"{s:>12}" for s in stores))
    for test in sorted(table):
        terminalreporter.write_line(
            f"{test:<30}" + "".join(f"{table[test].get(s, ''):>12}" for s in stores))
