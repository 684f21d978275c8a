"""The vendor's package, imported when it is needed and kept quiet.

`mem0` reads `MEM0_TELEMETRY` and `MEM0_DIR` once, at import, and writes an id file into the folder
(mem0ai 2.2.1). So both are settled before the first import. An app that shares the process and imported
`mem0` first keeps its own.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import threading
from types import ModuleType

from memxfer.spi import ProviderNotInstalledError

__all__ = ["import_mem0"]

_lock = threading.Lock()


def import_mem0() -> ModuleType:
    """Import `mem0` with its telemetry off and its files in a folder of our own.

    Raises:
        ProviderNotInstalledError: mem0ai is not installed.
    """
    with _lock:
        if "mem0" not in sys.modules:
            os.environ["MEM0_TELEMETRY"] = "False"
            if not os.environ.get("MEM0_DIR"):
                folder = tempfile.mkdtemp(prefix="memxfer-mem0-")
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
                os.environ["MEM0_DIR"] = folder
        try:
            return importlib.import_module("mem0")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "mem0":
                raise
            raise ProviderNotInstalledError(
                "the Mem0 client is not installed: pip install 'memxfer[mem0-platform]'"
            ) from error
