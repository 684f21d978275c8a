"""Embedded Qdrant's folders: one open client each, shared by the connections of this process.

A folder takes one client at a time (a file lock), so a move from one collection to another of the
same folder needs both connections on the same client.
"""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

from memxfer.spi import ConfigError
from memxfer_mem0.sdk import import_sdk

__all__ = ["check_folder", "close_folder", "open_folder"]

_lock = threading.Lock()
_clients: dict[Path, tuple[Any, int]] = {}


def check_folder(path: Path, collection: str) -> None:
    """Make sure of folder and collection before anything is opened: opening creates what is missing.

    Raises:
        ConfigError: There is no Qdrant store in the folder, or no such collection in it.
    """
    meta = path / "meta.json"
    if not meta.is_file():
        raise ConfigError(
            f"vector_store.config.path: no embedded Qdrant store in {path}; give the folder the app uses "
            "(a relative path counts from the config file, then from the working folder)"
        )
    try:
        content = json.loads(meta.read_text(encoding="utf-8"))
        known = {*content["collections"], *content.get("aliases", {})}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{meta} cannot be read as Qdrant's list of collections") from error
    if collection not in known:
        raise ConfigError(
            f"vector_store.config.collection_name: no collection {collection!r} in {path}; "
            f"there are: {', '.join(sorted(known)) or 'none'}"
        )


def open_folder(path: Path) -> Any:
    """Return the client of a folder; give it back with `close_folder`.

    Raises:
        ConfigError: The folder is open elsewhere, or cannot be opened.
    """
    qdrant = import_sdk("qdrant_client")
    path = path.resolve()
    with _lock:
        client, users = _clients.get(path, (None, 0))
        if client is None:
            _refuse_locked(path)
            client = _open(qdrant, path)
        _clients[path] = (client, users + 1)
        return client


def _refuse_locked(path: Path) -> None:
    """Ask for the lock first: qdrant-client 1.20 loads, and tidies up, the whole store before it does."""
    portalocker = import_sdk("portalocker")
    try:
        with (path / ".lock").open("r+") as stream:
            portalocker.lock(stream, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            portalocker.unlock(stream)
    except portalocker.exceptions.LockException as error:
        raise _in_use(path) from error
    except OSError:
        return  # no lock file yet, or none that we may open: then opening the store tells


def _in_use(path: Path) -> ConfigError:
    return ConfigError(
        f"the store in {path} is open in an app: stop the app, or copy the folder and point the config "
        "at the copy (embedded Qdrant allows one user at a time)"
    )


def _open(qdrant: Any, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its advice about large folders, given in ours
            return qdrant.QdrantClient(path=str(path))
    except RuntimeError as error:
        raise _in_use(path) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"embedded Qdrant cannot open {path}: {type(error).__name__}") from error


def close_folder(path: Path) -> None:
    """Give a folder's client back; the last one closes it."""
    path = path.resolve()
    with _lock:
        client, users = _clients[path]
        if users > 1:
            _clients[path] = (client, users - 1)
            return
        del _clients[path]
        client.close()
