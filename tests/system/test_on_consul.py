"""A cluster on consul."""
from scenarios import *  # noqa: F401,F403 -- the tests

STORE = "consul"
