"""The contract of a store driver, kept by ZooKeeper."""
from conformance import *  # noqa: F401,F403 -- the tests

STORE = "zookeeper"
