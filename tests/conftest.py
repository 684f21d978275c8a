"""What every test needs before anything is imported."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile

from hypothesis import HealthCheck, settings

# mem0 reads both when it is first imported, whichever test comes first: without them it phones home
# and locks a folder of its own in the home folder, which makes stores of other tests fail.
os.environ["MEM0_TELEMETRY"] = "False"
if "MEM0_DIR" not in os.environ:
    os.environ["MEM0_DIR"] = tempfile.mkdtemp(prefix="memxfer-mem0-")
    atexit.register(shutil.rmtree, os.environ["MEM0_DIR"], ignore_errors=True)

# qdrant-client asks SQLite how it was built, once per process, over a connection that it never closes (1.20);
# Python 3.13 warns of that, at any time. This is the answer that it would get.
if sys.version_info >= (3, 13):
    from qdrant_client.local.persistence import CollectionPersistence

    CollectionPersistence.CHECK_SAME_THREAD = False

# A shell starts what runs in its background deaf to Ctrl-C, and processes hand that on to their children:
# the tests that interrupt a command would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast examples are made says something about the machine, and nothing about what is tested.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
