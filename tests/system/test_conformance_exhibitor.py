"""The contract of a store driver, kept by Exhibitor."""
import os

import pytest

from conformance import *  # noqa: F401,F403 -- the tests

STORE = "exhibitor"
# the same driver as another suite's, by another way to the store
pytestmark = pytest.mark.skipif(not os.environ.get("LONG"), reason="a minute: LONG=1")
