"""Parts of groups, kept until all of a group is listed and has arrived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from memxfer.ledger import states
from memxfer.ledger.committer import Change
from memxfer.ledger.ledger import INSERT_RECORD, Ledger, Problem
from memxfer.ledger.states import State
from memxfer.ledger.text import stored_name
from memxfer.models import sanitise_text

__all__ = ["Part", "Waiting"]

_CHUNK = 1_000
_SECOND = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A record that waits.

    Attributes:
        seq: Its row.
        id: The source's id.
        key: Its document key.
        sends: Intents so far; above 0 it may be in the target.
        record: The record in canonical JSON.
    """

    seq: int
    id: str
    key: str
    sends: int
    record: bytes


class Waiting:
    """The waiting records of one job. They stay in the state `waiting` until it is known what became of them.

    Args:
        ledger: The job's, open.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(
        self,
        change: Change,
        *,
        partition: int,
        part: Part,
        digest: bytes,
        group: str,
        rank: str,
    ) -> None:
        """Keep a record until its group is sent; under a seq from `Ledger.reserve`."""
        change.add(INSERT_RECORD, (part.seq, partition, part.id, part.key, digest, State.WAITING, 0))
        row = (part.seq, stored_name(group), sanitise_text(rank)[0], part.record)
        change.add("INSERT INTO waiting VALUES (?, ?, ?, ?)", row)
        change.counts[State.WAITING] += 1

    def groups(self) -> Iterator[str]:
        """Give the stored names of the groups, in order; groups that end meanwhile change nothing."""
        rows = self._ledger.read("SELECT DISTINCT name FROM waiting ORDER BY name LIMIT ?", _CHUNK)
        while rows:
            for (name,) in rows:
                yield name
            rows = self._ledger.read(
                "SELECT DISTINCT name FROM waiting WHERE name > ? ORDER BY name LIMIT ?", rows[-1][0], _CHUNK
            )

    def parts(self, group: str) -> list[Part]:
        """Return the parts of a group, by its stored name, in their order."""
        rows = self._ledger.read(
            "SELECT w.seq, r.id, r.key, r.sends, w.record FROM waiting w JOIN record r ON r.seq = w.seq "
            "WHERE w.name = ? ORDER BY w.rank, w.seq",
            group,
        )
        return [Part(*row) for row in rows]

    def send(self, change: Change, parts: Sequence[Part], sends: int) -> None:
        """Note that parts are about to be sent, for the `sends`th time."""
        change.add("UPDATE record SET sends = ? WHERE seq = ?", *((sends, part.seq) for part in parts))
        if sends == _SECOND:
            change.counts[states.RESENT] += 1

    def unsend(self, change: Change, parts: Sequence[Part], sends: int) -> None:
        """Take back `send`: it was certainly not carried out."""
        change.add("UPDATE record SET sends = ? WHERE seq = ?", *((sends - 1, part.seq) for part in parts))
        if sends == _SECOND:
            change.counts[states.RESENT] -= 1

    def settle(
        self,
        change: Change,
        part: Part,
        state: State,
        *,
        at: datetime,
        ingestion_id: str | None = None,
        target_ids: Sequence[str] = (),
        request: int | None = None,
        problem: Problem | None = None,
    ) -> None:
        """Note what became of a part; it waits no longer."""
        self._ledger.settle(
            change,
            part.seq,
            State.WAITING,
            state,
            at=at,
            ingestion_id=ingestion_id,
            target_ids=target_ids,
            request=request,
            problem=problem,
        )
        change.add("DELETE FROM waiting WHERE seq = ?", (part.seq,))
