"""The SQLite file behind an emulator: what was acknowledged survives kill -9."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateFile:
    """An emulator's database.

    WAL with `synchronous=NORMAL`: a commit survives the death of the process, not that of the
    machine. Without a path the state lives in a temporary folder that `close` removes.

    Args:
        path: The database file, created with its folders when it does not exist.
        schema: `CREATE ... IF NOT EXISTS` statements.
    """

    def __init__(self, path: Path | None, *, schema: str) -> None:
        self._folder = None if path else tempfile.TemporaryDirectory(prefix="memxfer-emulator-")
        self.path = path or Path(self._folder.name if self._folder else ".") / "state.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # one thread serves, another may open and close: sqlite3 is told that this is meant
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(schema)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit everything done inside, or nothing when it raises."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def clear(self) -> None:
        """Delete every row of every table."""
        tables = self.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        with self.transaction() as db:
            for (table,) in tables:
                db.execute(f'DELETE FROM "{table}"')  # noqa: S608 - names come from sqlite_master

    def close(self) -> None:
        """Close the database; remove it when it was temporary."""
        self.db.close()
        if self._folder:
            self._folder.cleanup()
