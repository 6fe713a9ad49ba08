"""The contract of a store driver, kept by Kubernetes with Endpoints."""
from conformance import *  # noqa: F401,F403 -- the tests

STORE = "kubernetes-endpoints"
