"""Tables of a ledger.

`record` is append-only by rowid: a text primary key costs ten times as much per row and grows with
the table. A record's state is updated in place, by rowid.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from memxfer.errors import LedgerError

__all__ = ["CONTAINER", "FORMAT", "OWNER", "SCHEMA", "check_format"]

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
    filtered INTEGER NOT NULL DEFAULT 0  -- taken back when it has to be listed again from the start
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
