"""Tables of a ledger.

`record` is append-only by rowid: a text primary key costs ten times as much per row and grows with
the table. A record's state is updated in place, by rowid.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from memxfer.errors import LedgerError
from memxfer.ledger.ignored import has_wrong_notes
from memxfer.ledger.states import State

__all__ = ["CONTAINER", "FORMAT", "OWNER", "SCHEMA", "check_format", "fault_in"]

FORMAT = 1
"""Version of the tables; a ledger of another version is refused, never guessed at."""

CONTAINER = """
-- what has to be in the target before documents can go into it
CREATE TABLE IF NOT EXISTS container (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, within TEXT,
    token TEXT NOT NULL,         -- a mark to find it by
    since TEXT NOT NULL,         -- when it was first asked for
    tries INTEGER NOT NULL,
    target_id TEXT,              -- NULL: it may have been made
    task TEXT,                   -- what has to end before it can be used
    made INTEGER                 -- 1: made for this job; 0: it was there
) WITHOUT ROWID;
"""

OWNER = """
-- 64 bits of a hash each: a place in the target, and whose memories came to it first
CREATE TABLE IF NOT EXISTS owner (place INTEGER PRIMARY KEY, people INTEGER NOT NULL);
"""

SCHEMA = f"""
{CONTAINER}
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- one row per run of the job: a start, and how it ended
CREATE TABLE run (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, status TEXT, seconds REAL,
    records INTEGER, cause TEXT
);

-- what was agreed to move; a job goes on only under the same fingerprint
CREATE TABLE plan (
    revision INTEGER PRIMARY KEY, at TEXT NOT NULL, fingerprint TEXT NOT NULL, plan TEXT NOT NULL
);

-- a slice of the source and how far it is safe: everything before `cursor` is settled and durable,
-- and every record of the slice with seq <= mark lies before it
CREATE TABLE partition (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, cursor TEXT, mark INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,     -- 1: listed to its end; 2: and listed again, with nothing missed
    ignored INTEGER NOT NULL DEFAULT 0,  -- its share of the counters rows_ignored and rows_filtered,
    filtered INTEGER NOT NULL DEFAULT 0  -- taken back when it has to be listed again from the start;
                                         -- by reason: the note ignored_in/ID
);

CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    id TEXT NOT NULL,            -- the source's id
    key TEXT,                    -- the document's key in the target; NULL: never became a document
    hash BLOB,                   -- xxh3_128 of the record as listed, then 8 bytes that stay when it is edited
    state TEXT NOT NULL,
    sends INTEGER NOT NULL DEFAULT 0,   -- intents under this key and hash
    ingestion_id TEXT,
    target_ids TEXT,             -- JSON list
    request INTEGER              -- the request that settled it
);

CREATE TABLE request (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, documents INTEGER NOT NULL, correlation_id TEXT
);

-- why a record did not arrive, or arrived with a warning
CREATE TABLE problem (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, code TEXT, reason TEXT NOT NULL, correlation_id TEXT
);

-- parts of something that is sent as a whole, with their records; removed once they have arrived
CREATE TABLE waiting (
    seq INTEGER PRIMARY KEY, name TEXT NOT NULL, rank TEXT NOT NULL, record BLOB NOT NULL
);
CREATE INDEX waiting_by_group ON waiting (name, rank, seq);

-- kept in the same transaction as the rows it counts, so that a job's state loads at once
CREATE TABLE count (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""


def check_format(ledger: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the file at `path` has its tables; `False` for a new one.

    Raises:
        LedgerError: It is of another version.
    """
    version = ledger.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, FORMAT):
        raise LedgerError(
            f"the ledger {path} has format {version}, and this memxfer reads format {FORMAT}; "
            "use the version of memxfer that wrote it"
        )
    return bool(version)


_OPTIONAL: Final = frozenset({"container", "owner"})
"""Tables that a job makes when it needs them."""
_TYPES: Final = {
    "INTEGER": "('integer')",
    "REAL": "('real', 'integer')",
    "TEXT": "('text')",
    "BLOB": "('blob')",
}
_TIMES: Final = frozenset({"at", "started", "ended", "since"})
_SIGNED: Final = frozenset({"place", "people"})
_LARGEST: Final = 2**62
"""Numbers beyond this would overflow when they are counted on from."""


def fault_in(ledger: sqlite3.Connection) -> str | None:
    """Return what is wrong with an open ledger, to follow "the ledger"; `None`: nothing. Reads all of it.

    For a file that comes from elsewhere: SQLite keeps any value in any column, and runs any trigger.
    Values are looked at by kind and by what they have to agree with; none of them is in the answer.
    """
    version = ledger.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        return f"has format {version}, and this memxfer reads format {FORMAT}"
    if ledger.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        return "is damaged"
    with closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(SCHEMA + OWNER)
        tables = {name: _columns(ours, name) for name in _tables(ours)}
    if fault := _fault_in_tables(ledger, tables):
        return fault
    present = [name for name in tables if name in set(_tables(ledger))]
    conditions = [(name, one) for name in present for one in _wrong_values(tables[name])]
    for name, condition in (*conditions, *_CONTRADICTIONS):
        if ledger.execute(f"SELECT 1 FROM {name} WHERE {condition} LIMIT 1").fetchone():  # noqa: S608 - ours
            return f"holds values in table {name} that memxfer does not write"
    if has_wrong_notes(ledger):
        return "holds values in table meta that memxfer does not write"
    if ledger.execute(f"SELECT 1 FROM ({_COUNTED}) WHERE n <> 0 LIMIT 1").fetchone():  # noqa: S608 - ours
        return "has counters that do not agree with its records"
    return None


def _tables(ledger: sqlite3.Connection) -> list[str]:
    return [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _columns(ledger: sqlite3.Connection, table: str) -> list[tuple[str, str, bool]]:
    """Return name, declared type, and whether it may be empty, of each column."""
    rows = ledger.execute('SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?)', (table,))
    return [(name, kind, not (is_needed or key)) for name, kind, is_needed, key in rows]


def _fault_in_tables(
    ledger: sqlite3.Connection, tables: dict[str, list[tuple[str, str, bool]]]
) -> str | None:
    for kind, name, text in ledger.execute("SELECT type, name, sql FROM sqlite_master"):
        is_table = kind == "table" and name in tables and not text.upper().startswith("CREATE VIRTUAL")
        if not is_table and kind != "index":
            return f"holds a {kind} that memxfer does not make"
    for name, columns in tables.items():
        if _columns(ledger, name) != columns and not (name in _OPTIONAL and not _columns(ledger, name)):
            return f"has a table {name} that memxfer does not make"
    return None


def _wrong_values(columns: list[tuple[str, str, bool]]) -> Iterator[str]:
    """Give conditions that a row meets only if memxfer did not write it."""
    for name, kind, may_be_empty in columns:
        allowed = f"typeof({name}) IN {_TYPES[kind]}"
        yield f"NOT ({allowed}{f' OR {name} IS NULL' if may_be_empty else ''})"
        if name in _TIMES:
            yield f"{name} IS NOT NULL AND julianday({name}) IS NULL"
        elif kind == "INTEGER" and name not in _SIGNED:
            yield f"{name} NOT BETWEEN 0 AND {_LARGEST}"


_STATES: Final = ", ".join(f"'{state}'" for state in State)
_CONTRADICTIONS: Final = (
    ("record", f"state NOT IN ({_STATES})"),
    ("record", "target_ids IS NOT NULL AND NOT json_valid(target_ids)"),
    ("partition", "mark > (SELECT ifnull(max(seq), 0) FROM record)"),
)
_COUNTED: Final = (
    "SELECT state, sum(n) AS n FROM (SELECT state, 1 AS n FROM record UNION ALL "  # noqa: S608 - ours
    f"SELECT name, -n FROM count WHERE name IN ({_STATES})) GROUP BY state"
)
"""For each state, how many more records there are than its counter says."""
