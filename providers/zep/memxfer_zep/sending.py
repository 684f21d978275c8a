"""Documents of one lane as one request, and its answer as receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    Document,
    Outcome,
    ProviderError,
    WriteReceipt,
)
from memxfer_zep.answers import Answered, time_of
from memxfer_zep.bodies import body_of, encode
from memxfer_zep.config import NAME
from memxfer_zep.targets import TargetId, ingestion_of

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["Sender"]

_OLD: Final = timedelta(minutes=10)
"""An answer that tells of a task this much older than itself is one that was given before."""


class Sender:
    """Sends batches.

    Args:
        client: Makes the calls.
        now: Gives the time of day.
    """

    def __init__(self, client: ZepClient, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def send(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        """Send documents of one lane in one request.

        Raises:
            TransientError, FatalError: Certainly nothing was stored.
            BatchRefusedError: Nothing was stored, because of some of several documents.
            ProviderError: Documents of several lanes, or without their containers.
        """
        if not batch:
            return []
        _check(batch)
        try:
            answer, ids = await self._sent(batch)
            self._check_fresh(answer)
        except AmbiguousError as error:
            unknown = WriteReceipt(Outcome.UNKNOWN, error=error, correlation_id=error.correlation_id)
            return [unknown] * len(batch)
        except BatchRefusedError as error:
            if len(batch) > 1:
                raise
            return [WriteReceipt(Outcome.REJECTED, error=error, correlation_id=error.correlation_id)]
        return [_receipt(answer, one) for one in ids]

    async def _sent(self, batch: Sequence[Document]) -> tuple[Answered, list[tuple[str, ...]]]:
        """Return the answer, and what was made of each document."""
        bodies = [body_of(document) for document in batch]
        form = bodies[0]["form"]
        if form == "fact":
            return await self._facts(batch, bodies)
        if form == "episode":
            return await self._episode(batch[0], bodies[0])
        return await self._messages(batch[0], bodies[0])

    async def _facts(
        self, batch: Sequence[Document], bodies: Sequence[dict[str, Any]]
    ) -> tuple[Answered, list[tuple[str, ...]]]:
        graph = _place(batch[0], 0).place
        edges = [_edge(document, body["edge"]) for document, body in zip(batch, bodies, strict=True)]
        answer = await self._client.writes.add_facts(graph, edges, key=_key(batch, [graph, edges]))
        uuids = answer.rows("edges")
        _check_count(answer, uuids, len(batch))
        return answer, [(str(TargetId("fact", graph, uuid)),) for uuid in uuids]

    async def _episode(
        self, document: Document, body: dict[str, Any]
    ) -> tuple[Answered, list[tuple[str, ...]]]:
        graph, episode = _place(document, 0).place, body["episode"]
        answer = await self._client.writes.add_episode(graph, episode, key=_key([document], [graph, episode]))
        made = answer.body.get("episode")
        uuid = made.get("uuid") if isinstance(made, dict) else None
        uuids = [uuid] if isinstance(uuid, str) and uuid else []
        _check_count(answer, uuids, 1)
        return answer, [(str(TargetId("episode", graph, uuids[0])),)]

    async def _messages(
        self, document: Document, body: dict[str, Any]
    ) -> tuple[Answered, list[tuple[str, ...]]]:
        thread, messages = _place(document, 1).uuid, body["messages"]
        answer = await self._client.writes.add_messages(
            thread, messages, key=_key([document], [thread, messages])
        )
        uuids = answer.rows("messages")
        _check_count(answer, uuids, len(messages))
        return answer, [tuple(str(TargetId("message", thread, uuid)) for uuid in uuids)]

    def _check_fresh(self, answer: Answered) -> None:
        """Refuse to believe an old answer: what it tells of may have been deleted since.

        Zep gives its earlier answer to a request whose key it knows, for a time nobody tells.
        """
        task = answer.body.get("task")
        made_at = time_of(task.get("created_at")) if isinstance(task, dict) else None
        if made_at is not None and made_at < (answer.at or self._now()) - _OLD:
            raise AmbiguousError(
                "zep answered with what it said to the same request before, and that may be gone by now",
                provider=NAME,
                operation="write",
                correlation_id=answer.request_id,
                code="replayed",
            )


def _receipt(answer: Answered, ids: tuple[str, ...]) -> WriteReceipt:
    if answer.task is None:
        return WriteReceipt(Outcome.CREATED, target_ids=ids, correlation_id=answer.request_id)
    handle = ingestion_of(answer.task, ids)
    return WriteReceipt(
        Outcome.PENDING, target_ids=ids, ingestion_id=handle, correlation_id=answer.request_id
    )


def _edge(document: Document, edge: dict[str, Any]) -> dict[str, Any]:
    """Return a fact with its ends by uuid: a name would make a new entity for each fact."""
    source, target = _place(document, 1).uuid, _place(document, 2).uuid
    return {**edge, "source_node": {"uuid": source}, "target_node": {"uuid": target}}


def _check(batch: Sequence[Document]) -> None:
    if len({document.lane for document in batch}) > 1:
        raise _misuse("documents of several lanes in one request")
    if any(len(document.container_ids) != len(document.containers) for document in batch):
        raise _misuse("a document whose containers were not made")


def _place(document: Document, index: int) -> TargetId:
    found = TargetId.parse(document.container_ids[index])
    if found is None:
        raise _misuse("a container id that is none of zep's")
    return found


def _misuse(what: str) -> ProviderError:
    return ProviderError(f"zep was given {what}: a bug of its caller", provider=NAME, operation="write")


def _key(batch: Sequence[Document], sent: Any) -> str:
    """Return a key that the same documents with the same bodies to the same place have, on every run."""
    digest = hashlib.sha256(encode([[document.key for document in batch], sent])).hexdigest()
    return f"memxfer-{digest}"


def _check_count(answer: Answered, uuids: Sequence[str], count: int) -> None:
    if len(uuids) != count:
        raise AmbiguousError(
            "zep took the request and does not say what it made of it",
            provider=NAME,
            operation="write",
            correlation_id=answer.request_id,
            code="unreadable",
        )
