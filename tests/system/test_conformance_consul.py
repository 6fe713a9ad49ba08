"""The contract of a store driver, kept by Consul."""
from conformance import *  # noqa: F401,F403 -- the tests

STORE = "consul"
