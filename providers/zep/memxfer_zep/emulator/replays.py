"""Requests that Zep has seen before: the same key and the same request get the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from memxfer.emulation import Answer, Call, RefusedError

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["SCHEMA", "Replays"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS replays (
  project TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, digest TEXT NOT NULL, status INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (project, key)) WITHOUT ROWID;
"""


class Replays:
    """Remembers answers by the `Idempotency-Key` of their requests, for as long as the settings say.

    Args:
        emulator: Gives settings, store and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator

    def once(self, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        """Return a handler that does the same request once, and refuses another under its key."""

        def handle(call: Call) -> Answer:
            key = call.headers.get("idempotency-key")
            if not key:
                return handler(call)
            return self._known(call, key) or self._noted(call, key, handler(call))

        return handle

    def _known(self, call: Call, key: str) -> Answer | None:
        row = self._emulator.store.state.db.execute(
            "SELECT at, digest, status, body FROM replays WHERE project = ? AND key = ?", (call.identity, key)
        ).fetchone()
        if row is None or self._emulator.clock() - row[0] >= self._emulator.settings.idempotency_seconds:
            return None
        if row[1] != _digest(call):
            detail = {"code": "idempotency_conflict", "message": "the key was used for another request"}
            raise RefusedError(409, detail)
        return Answer(row[2], row[3])

    def _noted(self, call: Call, key: str, answer: Answer) -> Answer:
        with self._emulator.store.state.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?, ?, ?)",
                (
                    call.identity,
                    key,
                    self._emulator.clock(),
                    _digest(call),
                    answer.status,
                    answer.content(),
                ),
            )
        return answer


def _digest(call: Call) -> str:
    return hashlib.sha256(b"\0".join((call.method.encode(), call.path.encode(), call.body))).hexdigest()
