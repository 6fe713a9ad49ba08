"""A cluster on etcd v2."""
from scenarios import *  # noqa: F401,F403 -- the tests

STORE = "etcd"
