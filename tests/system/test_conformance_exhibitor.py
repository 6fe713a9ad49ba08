"""The contract of a store driver, kept by Exhibitor."""
from conformance import *  # noqa: F401,F403 -- the tests

STORE = "exhibitor"
