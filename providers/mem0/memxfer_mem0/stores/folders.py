"""Embedded Qdrant's folders: read from a copy, written by one client that this process shares.

Opening a folder takes its lock, tidies its rows up, and may write to `meta.json`, so what is only read is
copied. A folder takes one client at a time (a file lock), so a move from one collection to another of
the same folder needs all its writing connections on the same client.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from memxfer.spi import ConfigError, PrivateCopy
from memxfer_mem0.sdk import import_sdk

__all__ = [
    "FolderContents",
    "close_folder",
    "copy_collection",
    "not_in_use",
    "open_copy",
    "open_folder",
    "read_folder",
]

_META: Final = "meta.json"
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, ImportError)
"""What qdrant-client raises for a folder that it cannot make sense of, SQLite and pickle aside."""

_lock = threading.Lock()
_clients: dict[Path, tuple[Any, int]] = {}


class FolderContents:
    """Qdrant's list of what a folder holds.

    Args:
        path: Where the list is.
        content: The list.

    Raises:
        ConfigError: It is not such a list.
    """

    def __init__(self, path: Path, content: Any) -> None:
        try:
            self.collections: dict[str, Any] = dict(content["collections"])
            self.aliases: dict[str, str] = dict(content.get("aliases", {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} cannot be read as Qdrant's list of collections") from error

    @property
    def names(self) -> list[str]:
        """Return what a collection may be called here."""
        return sorted(
            {*self.collections, *(name for name, real in self.aliases.items() if real in self.collections)}
        )

    def dims(self, name: str) -> int | None:
        """Return the length of a collection's vectors, where it is told."""
        vectors = (self.collections.get(self.aliases.get(name, name)) or {}).get("vectors")
        size = vectors.get("size") if isinstance(vectors, dict) else None
        return size if isinstance(size, int) else None

    def only(self, name: str) -> dict[str, Any]:
        """Return a list of this collection alone."""
        real = self.aliases.get(name, name)
        return {
            "collections": {real: self.collections[real]},
            "aliases": {name: real} if name != real else {},
        }

    @property
    def is_older(self) -> bool:
        """Whether a client made it that does not know all fields which ours writes there."""
        model = import_sdk("qdrant_client.models").CreateCollection
        return any(_lacks_fields(model, config) for config in self.collections.values())


def _lacks_fields(model: Any, config: Any) -> bool:
    try:
        known = {name: value for name, value in config.items() if name in model.model_fields}
        return _is_wider(model(**known).model_dump(mode="json"), config)
    except (ValueError, TypeError, AttributeError):
        return False  # opening it tells what is wrong with it


def _is_wider(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return False
    return any(name not in theirs or _is_wider(value, theirs[name]) for name, value in ours.items())


def read_folder(path: Path) -> FolderContents | None:
    """Return what a folder holds; `None` where there is no Qdrant store.

    Raises:
        ConfigError: Its list of collections is damaged.
    """
    meta = path / _META
    try:
        if not meta.is_file():
            return None
        content = json.loads(meta.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{meta} cannot be read as Qdrant's list of collections") from error
    return FolderContents(meta, content)


def copy_collection(path: Path, contents: FolderContents, name: str) -> PrivateCopy:
    """Return a copy of one collection of a folder, which a client can open as a folder.

    Raises:
        ConfigError: It cannot be copied, or changes meanwhile.
    """
    real = contents.aliases.get(name, name)
    if Path(real).name != real:
        raise ConfigError(f"{path / _META} names a collection {real!r}, which is not the name of a folder")
    copy = PrivateCopy(path, what="the Qdrant store", names=[_META, f"collection/{real}"])
    (copy.path / _META).write_text(json.dumps(contents.only(name)), encoding="utf-8")
    return copy


def open_copy(copy: PrivateCopy, path: Path) -> Any:
    """Return a client of a copy of `path`; close both.

    Raises:
        ConfigError: It cannot be opened.
    """
    return _open(import_sdk("qdrant_client"), copy.path, path)


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
            with not_in_use(path):
                pass
            client = _open(qdrant, path, path)
        _clients[path] = (client, users + 1)
        return client


@contextmanager
def not_in_use(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, where it has one and this process does not write to it itself.

    A client is not asked: qdrant-client 1.20 loads, and tidies up, the whole store before it looks.

    Raises:
        ConfigError: An app has it open.
    """
    portalocker = import_sdk("portalocker")
    path = path.resolve()
    try:
        stream = None if path in _clients else (path / ".lock").open("r+")
    except OSError:
        stream = None  # no lock file yet, or none that we may open: then opening or copying the store tells
    if stream is None:
        yield
        return
    with stream:
        try:
            portalocker.lock(stream, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.exceptions.LockException as error:
            raise _in_use(path) from error
        try:
            yield
        finally:
            portalocker.unlock(stream)


def _in_use(path: Path) -> ConfigError:
    return ConfigError(
        f"the store in {path} is open in an app: stop the app, or copy the folder and point the config "
        "at the copy (embedded Qdrant allows one user at a time)"
    )


def _open(qdrant: Any, path: Path, told: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its advice about large folders, given in ours
            return qdrant.QdrantClient(path=str(path))
    except RuntimeError as error:
        raise _in_use(told) from error
    except (*_DAMAGED, sqlite3.Error, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"embedded Qdrant cannot open {told} ({type(error).__name__}): the folder is damaged, or of a "
            "version of qdrant-client that the installed one cannot read; open it with that of the app"
        ) from error


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
