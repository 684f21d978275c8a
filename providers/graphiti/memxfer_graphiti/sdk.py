"""Vendor packages, imported when they are needed and kept quiet.

`graphiti_core` reads a `.env` file into the environment when it is imported, and its high-level class calls
home (graphiti-core 0.31.1). Neither has a place here: only its schema and its indices are asked for.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from memxfer.spi import ProviderNotInstalledError

__all__ = ["import_sdk"]

_INSTALL: Final = {
    "falkordb": "pip install 'graphiti-core[falkordb]'",
    "neo4j": "pip install 'memxfer[graphiti]'",
    "kuzu": "pip install 'memxfer[graphiti]'",
    "graphiti_core": "pip install 'memxfer[graphiti]'",
}
_NO_DOTENV: Final = "PYTHON_DOTENV_DISABLED"
_TELEMETRY: Final = "GRAPHITI_TELEMETRY_ENABLED"
_lock = threading.Lock()


def import_sdk(name: str) -> ModuleType:
    """Import a vendor's module, without its deprecation warnings.

    Raises:
        ProviderNotInstalledError: It is not installed; the message says how to.
    """
    package = name.partition(".")[0]
    try:
        with _lock, _quietly():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ProviderNotInstalledError(
            f"graphiti needs the package {package}: {_INSTALL[package]}"
        ) from error


@contextmanager
def _quietly() -> Iterator[None]:
    os.environ.setdefault(_TELEMETRY, "false")
    before = os.environ.get(_NO_DOTENV)
    os.environ[_NO_DOTENV] = "1"
    try:
        # Kuzu's end is announced by Graphiti; pydantic warns of Graphiti's own models.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ[_NO_DOTENV]
        else:
            os.environ[_NO_DOTENV] = before
