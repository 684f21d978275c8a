"""The SDK's disk cache of fetches, for apps that ask for it; made safe to use.

As SDK 0.6.9 brings it, the cache answers wrongly: it keeps one entry for the users of the same id of two
customers, and serves a memory for minutes after it was deleted. It also makes file names of user ids.
Here it is asked under a name of the owner's own, in a folder that is left for a new one with every change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from memxfer.spi import ConfigError
from memxfer_synap.client.port import ContextQuery, WhoAmI
from memxfer_synap.config import SynapConfig

__all__ = ["GuardedCache", "install_cache"]

_POINTER = "current"
_NAME = re.compile(r"[0-9a-f]{32}")
_UNUSABLE = (OSError, sqlite3.Error, ValueError)


class _Asked(NamedTuple):
    """Whose answers one call may take from the cache, and from which of its folders."""

    owner: str
    generation: str


_asked: ContextVar[_Asked | None] = ContextVar("memxfer_synap_cache", default=None)


def install_cache(sdk: Any, config: SynapConfig, whoami: WhoAmI) -> GuardedCache:
    """Give an SDK its own cache behind a guard.

    The SDK is built without a cache, so one that keeps it elsewhere than 0.6.9 does has none at all.

    Raises:
        ConfigError: The folder cannot be used.
    """
    from maximem_synap.cache import CacheManager

    parts = (config.url, whoami.client_id, whoami.instance_id, config.api_key.get_secret_value())
    home = (config.cache_path or Path.home() / ".synap") / f"memxfer-{_digest(*parts)}"
    cache = GuardedCache(
        home, lambda folder: CacheManager("fetches", storage_path=str(folder), instance_id="all")
    )
    sdk._cache_manager = cache  # noqa: SLF001 - 0.6.9 offers no place for another
    return cache


class GuardedCache:
    """Stands where the SDK expects its `CacheManager`, and lets it answer for the owner of this call alone.

    A file beside the folders says which of them is in use: it is read with every question, so a change by
    one process is heard of by all that share the disk. An answer that was on its way during a change is
    kept in the folder that was left, where nobody looks. What cannot be read or written is not cached.

    Args:
        home: Where the folders are.
        make: Makes the SDK's cache in a folder.

    Raises:
        ConfigError: The folder cannot be used.
    """

    def __init__(self, home: Path, make: Callable[[Path], Any]) -> None:
        self._home = home
        self._make = make
        self._generation = ""
        self._cache: Any = None
        self._is_off = False
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (home / _POINTER).exists():
                self._turn_over()
        except OSError as error:
            raise ConfigError(f"cache_path: {home} cannot be used ({error.strerror})") from error

    @contextlib.contextmanager
    def asking(self, asked: ContextQuery) -> Iterator[None]:
        """Name the owner of what is asked inside, in this task."""
        ids = (asked.level, asked.user_id or "", asked.customer_id or "", asked.conversation_id or "")
        token = _asked.set(_Asked(_digest(*ids), self._current()))
        try:
            yield
        finally:
            _asked.reset(token)

    def drop(self) -> None:
        """Answer nothing any more from what is cached by now; call `sweep` to remove it."""
        self.close()
        try:
            (self._home / _POINTER).unlink(missing_ok=True)  # works on a full disk too
        except OSError:
            self._is_off = True
            return
        with contextlib.suppress(OSError):
            self._turn_over()

    def sweep(self) -> None:
        """Remove what is cached in folders that are not in use; may take a while where users are many."""
        current = self._current()
        with contextlib.suppress(OSError):
            for folder in self._home.iterdir():
                if folder.is_dir() and folder.name != current:
                    shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close files."""
        cache, self._cache = self._cache, None
        self._generation = ""
        if cache is not None:
            with contextlib.suppress(*_UNUSABLE):
                cache.close()

    # -- what the SDK calls --------------------------------------------------------------------

    def get(
        self,
        scope: Any,
        entity_id: str,
        context_type: str,
        query: Any = None,
        scope_path: Sequence[str] | None = None,
    ) -> bytes | None:
        """Return an answer to this owner's very question."""
        del entity_id
        asked = _asked.get()
        if asked is None or not asked.generation:
            return None
        try:
            found = self._of(asked).get(scope, asked.owner, context_type, query, scope_path)
        except _UNUSABLE:
            return None
        return found if isinstance(found, bytes) else None

    def set(
        self,
        scope: Any,
        entity_id: str,
        context_type: str,
        value: bytes,
        ttl_seconds: int | None = None,
        query: Any = None,
        scope_path: Sequence[str] | None = None,
    ) -> None:
        """Keep an answer, unless things changed meanwhile or it says that something is missing from it."""
        del entity_id
        asked = _asked.get()
        if asked is None or asked.generation != self._current() or json.loads(value).get("retrieval"):
            return
        with contextlib.suppress(*_UNUSABLE):
            self._of(asked).set(scope, asked.owner, context_type, value, ttl_seconds, query, scope_path)

    def delete(self, *_: Any, **__: Any) -> None:
        """Forget: whatever the SDK means to evict, everything goes."""
        self.drop()
        self.sweep()

    clear_user = clear_customer = clear_all = delete

    def stats(self) -> dict[str, Any]:
        """Return nothing but that there is a cache."""
        return {"enabled": True}

    # -- folders -------------------------------------------------------------------------------

    def _current(self) -> str:
        """Return the name of the folder in use; none where it cannot be told, and nothing is cached."""
        try:
            name = "" if self._is_off else (self._home / _POINTER).read_text(encoding="ascii")
        except _UNUSABLE:
            return ""
        return name if _NAME.fullmatch(name) else ""

    def _of(self, asked: _Asked) -> Any:
        if self._cache is None or self._generation != asked.generation:
            self.close()
            self._cache = self._make(self._home / asked.generation)
            self._generation = asked.generation
        return self._cache

    def _turn_over(self) -> None:
        name = secrets.token_hex(16)
        fresh = self._home / f"{_POINTER}.{name}"
        fresh.write_text(name, encoding="ascii")
        fresh.replace(self._home / _POINTER)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
