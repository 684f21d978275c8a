"""What no record shows alone: keys that collide, owners that merge, texts that repeat.

One small row per document goes to a temporary database that SQLite keeps in memory while it is small
and on disk beyond that, so that ten million documents take no more memory than ten.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from memxfer.errors import MemxferError
from memxfer.ids import record_mark
from memxfer.models import MemoryRecord
from memxfer.spi import Document

__all__ = ["Crossing", "Crossings", "FirstComers", "KnownCrossings", "Landing", "Meetings", "owners_of"]

_ROWS = 5_000
_SAMPLES = 3
_MAX_ID = 200
_NOBODY = (None, None, None, None)
_names_in = attrgetter("tenant", "group", "app", "user")
_helpers_in = attrgetter("agent", "session")
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


class Meetings(Protocol):
    """What a census asks about several records at once."""

    def add(self, record: MemoryRecord, document: Document, *, digest: bytes | None = None) -> None:
        """Note one document."""
        ...

    def are_ids_shared(self) -> bool:
        """Tell whether two records that share a key share their id too."""
        ...

    def collisions(self) -> Crossing:
        """Return documents that have their key in common with another record's."""
        ...

    def merged_owners(self) -> Crossing:
        """Return documents of different owners that end up with one."""
        ...

    def repeats(self) -> Crossing:
        """Return documents whose text their owner has already."""
        ...

    def landings(self) -> list[Landing]:
        """Return where documents land."""
        ...

    def close(self) -> None:
        """Give back what this holds."""
        ...


class KnownCrossings:
    """Crossings that somebody else found; records are not compared here.

    Attributes:
        merged: Documents of different owners that end up with one.
    """

    def __init__(self) -> None:
        self.merged = Crossing()

    def add(self, record: MemoryRecord, document: Document, *, digest: bytes | None = None) -> None:
        """Ignore one document."""

    def are_ids_shared(self) -> bool:
        """Return `False`: records are not compared."""
        return False

    def collisions(self) -> Crossing:
        """Return none."""
        return Crossing()

    def merged_owners(self) -> Crossing:
        """Return what was found elsewhere."""
        return self.merged

    def repeats(self) -> Crossing:
        """Return none."""
        return Crossing()

    def landings(self) -> list[Landing]:
        """Return none."""
        return []

    def close(self) -> None:
        """Do nothing."""


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
        people, place = owners_of(record, document)
        mine = hash(people or _helpers_in(record.scope))
        text = hash((mine, record.content))
        self._added += 1
        form = self._added if digest is None else hash((record.id, digest))
        key = hash((document.key, record_mark(record))) if self._keeps_apart else hash(document.key)
        numbers = (key, form, mine if people else 0, hash(place), text)
        self._rows.append((*numbers, document.scope, record.id[:_MAX_ID]))
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
            self._database = _scratch(
                "CREATE TABLE document "
                "(key INT, form INT, people INT, place INT, text INT, scope TEXT, id TEXT);"
            )
        return self._database


class FirstComers:
    """Remembers who came first to each of very many places.

    They go to a private database that SQLite keeps in memory while it is small and on disk beyond that.
    """

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def first(self, place: int, who: int) -> int:
        """Return who came first to a place: `who`, unless somebody was there before.

        Args:
            place: A signed number of 64 bits.
            who: Another.

        Raises:
            MemxferError: There is no room for the temporary file.
        """
        try:
            database = self._opened()
            if database.execute("INSERT OR IGNORE INTO first VALUES (?, ?)", (place, who)).rowcount:
                return who
            return int(database.execute("SELECT who FROM first WHERE place = ?", (place,)).fetchone()[0])
        except sqlite3.Error as error:
            raise _no_room(error) from error

    def close(self) -> None:
        """Give back the temporary file. Idempotent."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = _scratch("CREATE TABLE first (place INTEGER PRIMARY KEY, who INT);")
        return self._database


Names = tuple[str | None, ...]
"""The parts of a scope that tell whose a memory is."""


def owners_of(record: MemoryRecord, document: Document) -> tuple[Names | None, Names]:
    """Return whose memory it is, `None` where nobody is named, and who shares it in the target.

    Agents and sessions share a memory where nobody else is named.
    """
    people = _names_in(record.scope)
    scope = record.scope if document.owner is None else document.owner
    place = people if document.owner is None else _names_in(scope)
    return (
        None if people == _NOBODY else people,
        _helpers_in(scope) if place == _NOBODY else place,
    )


def _scratch(tables: str) -> sqlite3.Connection:
    # An empty name is a private database on disk that goes with its connection.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192; {tables} BEGIN;"
    )
    return database


def _no_room(error: sqlite3.Error) -> MemxferError:
    return MemxferError(
        f"the scan's temporary file cannot be used ({error}); free some space in the temporary folder, "
        "or name another with the environment variable SQLITE_TMPDIR"
    )
