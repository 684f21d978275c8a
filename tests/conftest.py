"""What every test needs before anything is imported."""

from __future__ import annotations

import os
import tempfile

# mem0 reads both when it is first imported, whichever test comes first: without them it phones home
# and locks a folder of its own in the home folder, which makes stores of other tests fail.
os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("MEM0_DIR", tempfile.mkdtemp(prefix="memxfer-mem0-"))
