"""The contract of a store driver, kept by etcd (v2)."""
from conformance import *  # noqa: F401,F403 -- the tests

STORE = "etcd"
