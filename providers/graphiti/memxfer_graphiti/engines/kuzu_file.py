"""A Kuzu database file: opened once per process, used on one thread.

Kuzu locks its file against other processes only (seen on 0.11.3): a second `Database` in this one would open
it a second time, and the file lock would go with the first that closes. So connections to one file share it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from memxfer.spi import ConfigError, FatalError, ProviderError, UnavailableError
from memxfer_graphiti.config import NAME
from memxfer_graphiti.sdk import import_sdk

__all__ = ["KuzuFile"]

T = TypeVar("T")
_MEGABYTE = 2**20
_MISUNDERSTOOD = ("Binder", "Parser", "Catalog")
_OF_THE_MOMENT = ("Buffer manager", "IO", "Interrupted", "Connection")
_TABLES = frozenset({"Episodic", "Entity", "Community", "RelatesToNode_"})


class KuzuFile:
    """One open file; get one with `acquire`, and give it back with `release`.

    Every call blocks in C++, so it runs on the file's own thread and the event loop goes on.
    """

    _shared: ClassVar[dict[Path, tuple[KuzuFile, int]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memxfer-kuzu")
        self._database: Any = None
        self._connection: Any = None
        self._is_read_only = False

    @classmethod
    def acquire(cls, path: Path) -> KuzuFile:
        """Return the file, not opened yet by the first who asks."""
        place = path.expanduser().resolve()
        with cls._lock:
            file, users = cls._shared.get(place) or (cls(place), 0)
            cls._shared[place] = (file, users + 1)
            return file

    async def release(self) -> None:
        """Give the file back; it is closed with its last user."""
        with self._lock:
            _, users = self._shared[self.path]
            self._shared[self.path] = (self, users - 1)
        await asyncio.shield(self.run(self._close_if_unused))

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call(*args)` on the file's thread and wait for it without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    # -- on the thread ------------------------------------------------------------------------

    def open_for_reading(self, pool_mb: int) -> None:
        """Open the file as it is; nothing in it changes.

        Raises:
            ConfigError: It is missing, in use, no Kuzu database, or no graph of Graphiti's.
        """
        if self._database is None:
            if not self.path.exists():
                raise ConfigError(f"{self.path}: there is no such file; a source must be there")
            self._open(pool_mb, read_only=True)
        if not self._tables() >= _TABLES:
            raise self._not_a_graph()

    def is_missing(self) -> bool:
        """Tell whether a target has to be made.

        Raises:
            ConfigError: It cannot be: there is no folder for it.
        """
        if not self.path.parent.is_dir():
            raise ConfigError(f"{self.path}: the folder {self.path.parent} does not exist; make it first")
        return not self.path.exists()

    def open_for_writing(self, pool_mb: int, schema: str) -> None:
        """Open the file, make it where it is missing, and add what Graphiti's schema has and it has not.

        Raises:
            ConfigError: It is in use, no Kuzu database, or one of something else.
        """
        if self._database is not None and self._is_read_only:
            self._close()
        if self._database is None:
            self._open(pool_mb, read_only=False)
        tables = self._tables()
        if tables and not tables >= _TABLES:
            raise self._not_a_graph()
        self.query(schema)

    def query(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        """Run one query.

        Raises:
            FatalError: Kuzu does not understand it: the tables are not those of this Graphiti.
            UnavailableError: It failed; outside a transaction, nothing was changed. With code `refused` it
                is for what it was asked, and not for the moment.
        """
        try:
            found = self._connection.execute(cypher, params)
        except RuntimeError as error:
            raise _failure(error) from None  # its text may quote a memory
        results = found if isinstance(found, list) else [found]
        try:
            return [dict(row) for row in results[-1].rows_as_dict()]
        finally:
            for result in results:
                result.close()

    def _open(self, pool_mb: int, *, read_only: bool) -> None:
        kuzu = import_sdk("kuzu")
        try:
            self._database = kuzu.Database(
                str(self.path), buffer_pool_size=pool_mb * _MEGABYTE, read_only=read_only
            )
            self._connection = kuzu.Connection(self._database)
        except RuntimeError as error:
            self._close()
            raise _refusal(self.path, str(error)) from error
        self._is_read_only = read_only

    def _tables(self) -> set[str]:
        return {row["name"] for row in self.query("CALL show_tables() RETURN name")}

    def _not_a_graph(self) -> ConfigError:
        return ConfigError(
            f"{self.path}: a Kuzu database without Graphiti's tables; is it the file that the app uses?"
        )

    def _close_if_unused(self) -> None:
        # Under the lock: whoever opens it next must not do so while it is being closed.
        with self._lock:
            found, users = self._shared.get(self.path, (None, 0))
            if found is not self or users > 0:
                return
            self._close()
            del self._shared[self.path]
        self._executor.shutdown(wait=False)

    def _close(self) -> None:
        for part in (self._connection, self._database):
            if part is not None:
                part.close()
        self._connection = self._database = None


def _refusal(path: Path, text: str) -> ConfigError:
    if "lock" in text:
        return ConfigError(
            f"{path}: open in another process; Kuzu lets one process write a file, or several read it. "
            "Stop the app, or copy the file, and try again"
        )
    if "not a valid Kuzu" in text or "directory" in text:
        return ConfigError(f"{path}: not a Kuzu database (Kuzu 0.11 keeps one in a single file)")
    kind = text.partition(":")[0]
    return ConfigError(f"{path}: Kuzu cannot open it ({kind}); is it of another version, or not yours?")


def _failure(error: RuntimeError) -> ProviderError:
    kind = str(error).partition(":")[0][:40]
    if kind.startswith(_MISUNDERSTOOD):
        return FatalError(
            f"Kuzu does not understand a query ({kind}): the tables are not those of Graphiti 0.31",
            provider=NAME,
            operation="query",
            code="schema",
        )
    hint = "; raise buffer_pool_mb" if kind.startswith("Buffer manager") else ""
    return UnavailableError(
        f"Kuzu refused a query ({kind}){hint}",
        provider=NAME,
        operation="query",
        code=None if kind.startswith(_OF_THE_MOMENT) else "refused",
    )
