"""What a job had to make in its target before documents could go into it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from memxfer.ledger.committer import Change
from memxfer.ledger.schema import CONTAINER
from memxfer.models import format_time, parse_time
from memxfer.spi import Container, Ensured

__all__ = ["ContainerRow", "ContainerStore", "Containers", "ScratchStore"]

_COLUMNS = "name, token, since, tries, target_id, task"


class ContainerStore(Protocol):
    """A file that has the table `container`: a job's ledger, an app's outbox."""

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def commit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """One container, as the ledger knows it.

    Attributes:
        name: Its name in the job.
        token: The mark it is made with.
        since: When it was first asked for.
        tries: How often, the try under way included.
        target_id: The target's id of it; `None`: it may have been made.
        task: What has to end before it can be used.
    """

    name: str
    token: str
    since: datetime
    tries: int
    target_id: str | None = None
    task: str | None = None


class Containers:
    """The containers of one job: intents before they are made, ids after.

    Args:
        store: Where they are noted, open.
        token: Makes marks: 32 hex digits that are given to nothing else.
    """

    def __init__(self, store: ContainerStore, *, token: Callable[[], str]) -> None:
        self._store = store
        self._token = token

    def find(self, name: str) -> ContainerRow | None:
        """Return what is known of a container."""
        rows = self._store.read(f"SELECT {_COLUMNS} FROM container WHERE name = ?", name)  # noqa: S608 - a constant
        if not rows:
            return None
        name, token, since, tries, target_id, task = rows[0]
        return ContainerRow(name, token, parse_time(since), tries, target_id, task)

    def taken(self, container: Container) -> frozenset[str]:
        """Return the target ids of the containers of its kind and place."""
        rows = self._store.read(
            "SELECT target_id FROM container WHERE kind = ? AND within IS ? AND target_id IS NOT NULL",
            container.kind,
            container.within,
        )
        return frozenset(target_id for (target_id,) in rows)

    def intend(self, change: Change, container: Container, *, at: datetime) -> ContainerRow:
        """Note that a container is about to be made, or looked for and made."""
        known = self.find(container.name)
        if known is not None:
            change.add("UPDATE container SET tries = ? WHERE name = ?", (known.tries + 1, known.name))
            return replace(known, tries=known.tries + 1)
        row = ContainerRow(container.name, self._token(), at, 1)
        change.add(
            "INSERT INTO container (name, kind, within, token, since, tries) VALUES (?, ?, ?, ?, ?, ?)",
            (row.name, container.kind, container.within, row.token, format_time(at), row.tries),
        )
        return row

    def made(self, change: Change, name: str, answer: Ensured) -> None:
        """Note what the target calls it, and what has to end before it can be used."""
        change.add(
            "UPDATE container SET target_id = ?, task = ?, made = ? WHERE name = ?",
            (answer.target_id, answer.task, int(answer.is_new), name),
        )

    def ready(self, change: Change, name: str) -> None:
        """Note that it can be used."""
        change.add("UPDATE container SET task = NULL WHERE name = ?", (name,))

    def drop(self, change: Change, name: str) -> None:
        """Note that it was certainly not made."""
        change.add("DELETE FROM container WHERE name = ?", (name,))


class ScratchStore:
    """Containers of something that ends with the process: in memory, never on disk."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.executescript(CONTAINER)

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(statement, values).fetchall()

    def commit(self, change: Change) -> asyncio.Future[None]:
        """Apply a change now."""
        for statement, rows in change.statements:
            self._connection.executemany(statement, rows)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def made(self) -> list[str]:
        """Return the target ids of what was made, what is in something else before that."""
        rows = self.read("SELECT target_id FROM container WHERE made = 1 ORDER BY within IS NULL, name DESC")
        return [target_id for (target_id,) in rows]

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
