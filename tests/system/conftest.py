"""Fixtures and the closing check that nothing was left running."""
import pytest

from cluster import Cluster


@pytest.fixture
def three():
    """A healthy cluster of three nodes."""
    with Cluster(3) as cluster:
        cluster.start()
        yield cluster
