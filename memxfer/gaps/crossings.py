"""What no record shows alone: keys that collide, owners that merge, texts that repeat.

One small row per document goes to a temporary database that SQLite keeps in memory while it is small
and on disk beyond that, so that ten million documents take no more memory than ten.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from memxfer.errors import MemxferError
from memxfer.ids import record_mark
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Document

__all__ = ["Crossing", "Crossings", "Landing"]

_ROWS = 5_000
_SAMPLES = 3
_MAX_ID = 200
_NOBODY = (None, None, None, None)
_INSERT = "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Crossing:
    """Documents that meet where they should not.

    Attributes:
        groups: Keys, owners or texts that several share.
        members: Records, owners or texts that share them.
        records: Documents that share one.
        samples: A few of their source ids.
    """

    groups: int = 0
    members: int = 0
    records: int = 0
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Landing:
    """How much lands at one kind of place in the target.

    Attributes:
        scope: The provider's name for it, `"user"`.
        records: Documents.
        owners: Different users, agents, ... of that kind.
    """

    scope: str
    records: int
    owners: int


class Crossings:
    """Remembers every document of a scan, on disk.

    The rows hold this process's own hashes of 64 bits: among a million documents two meet by chance
    once in thirty million scans.

    Args:
        keeps_apart: The target keeps records of one key apart by owner and date (`Writing.keeps_apart`).
    """

    def __init__(self, *, keeps_apart: bool = False) -> None:
        self._keeps_apart = keeps_apart
        self._rows: list[tuple[int, int, int, int, int, str, str]] = []
        self._added = 0
        self._database: sqlite3.Connection | None = None

    def add(self, record: MemoryRecord, document: Document, *, digest: bytes | None = None) -> None:
        """Note one document.

        Args:
            record: What it was made from.
            document: The document.
            digest: Of the record: a record that the source lists twice, with the same content, shares
                its key with nobody. `None`: the record is not listed twice.

        Raises:
            MemxferError: There is no room for the temporary file.
        """
        people, mine = _owner(record.scope)
        place = mine if document.owner is None else _owner(document.owner)[1]
        text = hash((mine, record.content))
        self._added += 1
        form = self._added if digest is None else hash((record.id, digest))
        key = hash((document.key, record_mark(record))) if self._keeps_apart else hash(document.key)
        self._rows.append((key, form, people, place, text, document.scope, record.id[:_MAX_ID]))
        if len(self._rows) >= _ROWS:
            self._flush()

    def collisions(self) -> Crossing:
        """Return documents that have their key in common with another record's."""
        return self._shared(
            "SELECT key, count(DISTINCT form), count(DISTINCT form) FROM document GROUP BY key "
            "HAVING min(form) != max(form)",
            "key",
        )

    def are_ids_shared(self) -> bool:
        """Tell whether two records that share a key share their id too: `{id}` tells no difference."""
        rows = self._ask(
            "SELECT 1 FROM document GROUP BY key, id HAVING min(form) != max(form) LIMIT 1",
        )
        return rows.fetchone() is not None

    def merged_owners(self) -> Crossing:
        """Return documents of different owners that end up with one."""
        return self._shared(
            "SELECT place, count(*), count(DISTINCT people) FROM document WHERE people != 0 "
            "GROUP BY place HAVING min(people) != max(people)",
            "place",
        )

    def repeats(self) -> Crossing:
        """Return documents whose text their owner has already, the first of each left out."""
        return self._shared(
            "SELECT text, count(*) - 1, count(*) FROM document GROUP BY text HAVING count(*) > 1", "text"
        )

    def landings(self) -> list[Landing]:
        """Return where documents land, the most frequent place first."""
        rows = self._ask(
            "SELECT scope, sum(n), count(*) FROM (SELECT scope, count(*) AS n FROM document "
            "GROUP BY scope, place) GROUP BY scope ORDER BY 2 DESC, 1"
        )
        return [Landing(*row) for row in rows]

    def close(self) -> None:
        """Give back the temporary file. Idempotent."""
        self._rows.clear()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _shared(self, question: str, column: str) -> Crossing:
        """Count groups; ids are fetched for the first few alone, so that no sort has to carry them."""
        groups = members = records = 0
        shown: list[int] = []
        for value, count, parts in self._ask(question):
            groups += 1
            members += parts
            records += count
            if len(shown) < _SAMPLES:
                shown.append(value)
        return Crossing(groups, members, records, self._samples(column, shown))

    def _samples(self, column: str, values: list[int]) -> tuple[str, ...]:
        if not values:
            return ()
        listed = ", ".join(map(str, values))
        rows = self._ask(
            f"SELECT DISTINCT id FROM document WHERE {column} IN ({listed}) LIMIT {_SAMPLES}"  # noqa: S608 - our own numbers
        )
        return tuple(row[0] for row in rows)

    def _ask(self, question: str) -> sqlite3.Cursor:
        self._flush()
        try:
            return self._opened().execute(question)
        except sqlite3.Error as error:
            raise _no_room(error) from error

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        try:
            self._opened().executemany(_INSERT, rows)
        except sqlite3.Error as error:
            raise _no_room(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            # An empty name is a private database on disk that goes with its connection.
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._database.executescript(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;"
                "CREATE TABLE document "
                "(key INT, form INT, people INT, place INT, text INT, scope TEXT, id TEXT);"
                "BEGIN;"
            )
        return self._database


def _owner(scope: Scope) -> tuple[int, int]:
    """Return numbers for whose memory it is, 0 where nobody is named, and for who shares it.

    Agents and sessions share a memory where nobody else is named.
    """
    names = (scope.tenant, scope.group, scope.app, scope.user)
    if names == _NOBODY:
        return 0, hash((scope.agent, scope.session))
    people = hash(names)
    return people, people


def _no_room(error: sqlite3.Error) -> MemxferError:
    return MemxferError(
        f"the scan's temporary file cannot be used ({error}); free some space in the temporary folder, "
        "or name another with the environment variable SQLITE_TMPDIR"
    )
