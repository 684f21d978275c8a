"""Vendor packages, imported when they are needed and kept quiet.

`mem0` reads `MEM0_TELEMETRY` and `MEM0_DIR` once, at import; it writes an id file into the folder and,
with telemetry on, calls out and keeps a second locked store there (mem0ai 2.2.1). So both are settled
before the first import. An app that shares the process and imported `mem0` first keeps its own.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType

from memxfer.spi import ProviderNotInstalledError

__all__ = ["app_home", "import_mem0", "import_sdk"]

_EXTRAS = {
    "mem0": "mem0",
    "qdrant_client": "mem0",
    "chromadb": "mem0-chroma",
    "faiss": "mem0-faiss",
    "portalocker": "mem0",
    "psycopg": "mem0-pgvector",
    "yaml": "yaml",
}
_lock = threading.Lock()
_private: list[str] = []


def import_sdk(name: str) -> ModuleType:
    """Import a vendor's module.

    Raises:
        ProviderNotInstalledError: It is not installed; the message names the extra.
    """
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ProviderNotInstalledError(
            f"mem0-oss needs the package {package}: pip install 'memxfer[{_EXTRAS[package]}]'"
        ) from error


def import_mem0(name: str) -> ModuleType:
    """Import a module of `mem0` with its telemetry off and its files in a folder of our own.

    Raises:
        ProviderNotInstalledError: mem0ai is not installed.
    """
    with _lock:
        if "mem0" not in sys.modules:
            os.environ["MEM0_TELEMETRY"] = "False"
            if not os.environ.get("MEM0_DIR"):
                _private.append(tempfile.mkdtemp(prefix="memxfer-mem0-"))
                atexit.register(shutil.rmtree, _private[-1], ignore_errors=True)
                os.environ["MEM0_DIR"] = _private[-1]
        return import_sdk(name)


def app_home() -> Path:
    """Return the folder in which the app's own Mem0 keeps its files by default."""
    folder = os.environ.get("MEM0_DIR")
    return Path(folder) if folder and folder not in _private else Path.home() / ".mem0"
