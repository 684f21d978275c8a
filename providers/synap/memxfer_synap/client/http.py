"""The same JSON as the SDK's, sent by memxfer: exact waits, exact failures, half the CPU."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from memxfer.spi import NotReadyError, ProviderError, Timeouts
from memxfer.transport import exchange, open_client
from memxfer_synap.client.answers import (
    NAME,
    Answer,
    read_batch,
    read_created,
    read_job,
    read_transcript,
    read_whoami,
    refusal,
)
from memxfer_synap.client.contexts import FETCH_PATHS, REPLACE, fetch_body, read_context, read_memory
from memxfer_synap.client.port import (
    BatchAnswer,
    ContextAnswer,
    ContextQuery,
    FoundMemory,
    Job,
    TranscriptAnswer,
    WhoAmI,
)

__all__ = ["HttpSynapClient"]

_WHOAMI = "/api/v1/auth/whoami"
_BATCH = "/api/v1/memories/batch"
_CREATE = "/api/v1/memories/create"
_TRANSCRIPT = "/v1/conversations/ingest"
_STATUS = "/api/v1/memories/status"
_MEMORIES = "/api/v1/memories"
_OK = 200
_NO_CONTENT = 204
_NOT_FOUND = 404
_PROBE = {"search_query": ["memxfer"], "max_results": 1, "types": ["facts"], "mode": "fast"}


_encoder = msgspec.json.Encoder()


class HttpSynapClient:
    """A `SynapClient` over the shared transport.

    Args:
        base_url: Address of the service.
        api_key: The key, in clear.
        timeouts: Seconds for connect, read, write.
        now: Gives the time of day; for dates in `Retry-After`.
        token: Makes correlation ids.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        timeouts: Timeouts,
        now: Callable[[], datetime],
        token: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._client = open_client(base_url, timeouts=timeouts, headers=headers)
        self._now = now
        self._token = token

    async def whoami(self) -> WhoAmI:
        """Ask whose key it is; the ids found go with every later request.

        Raises:
            AuthError: The key is refused.
            UnavailableError: Nobody answers.
            FatalError: Something else than Synap answers.
        """
        found = read_whoami(await self._ask("GET", _WHOAMI, operation="connect"))
        self._client.headers["X-Client-ID"] = found.client_id
        self._client.headers["X-Instance-ID"] = found.instance_id
        return found

    async def check_ready(self) -> None:
        """Ask whether the instance takes calls, by a search that stores nothing.

        `whoami` answers while an instance is being built, fetches do not (SDK 0.6.9's list of gated
        routes). Whatever else a search may be refused for is no concern of a target.

        Raises:
            NotReadyError: It does not yet; `retry_after` says for how long.
        """
        try:
            await self._ask(
                "POST", FETCH_PATHS["client"], operation="connect", content=_encoder.encode(_PROBE)
            )
        except NotReadyError:
            raise
        except ProviderError:
            return

    async def create_batch(self, documents: Sequence[bytes]) -> BatchAnswer:
        """Hand in the documents in one request; see `SynapClient`."""
        body = b'{"documents":[%b],"fail_fast":false}' % b",".join(documents)
        return read_batch(await self._ask("POST", _BATCH, operation="write", is_write=True, content=body))

    async def create(self, document: bytes) -> BatchAnswer:
        """Hand in one document by the call for single ones; see `SynapClient`."""
        answer = await self._ask("POST", _CREATE, operation="write", is_write=True, content=document)
        return read_created(answer, sent_id=msgspec.json.decode(document)["document_id"])

    async def ingest_transcript(self, transcript: bytes) -> TranscriptAnswer:
        """Hand in one conversation; see `SynapClient`."""
        answer = await self._ask("POST", _TRANSCRIPT, operation="write", is_write=True, content=transcript)
        return read_transcript(answer)

    async def job(self, ingestion_id: str) -> Job | None:
        """Return one document's progress; see `SynapClient`."""
        answer = await self._ask(
            "GET", f"{_STATUS}/{quote(ingestion_id, safe='')}", operation="ingest_status", absent=True
        )
        return None if answer.status == _NOT_FOUND else read_job(answer)

    async def fetch(self, asked: ContextQuery) -> ContextAnswer:
        """Return what fits a question; see `SynapClient`."""
        answer = await self._ask(
            "POST",
            FETCH_PATHS[asked.level],
            operation="search",
            absent=asked.level == "conversation",
            content=_encoder.encode(fetch_body(asked)),
        )
        if answer.status == _NOT_FOUND:
            return ContextAnswer((), correlation_id=answer.correlation_id)
        return read_context(answer)

    async def get(self, memory_id: str) -> FoundMemory | None:
        """Return one memory; see `SynapClient`."""
        answer = await self._ask("GET", _path_of(memory_id), operation="get", absent=True)
        return None if answer.status == _NOT_FOUND else read_memory(answer)

    async def update(self, memory_id: str, text: str) -> FoundMemory | None:
        """Replace a memory's text; see `SynapClient`."""
        body = _encoder.encode({"document": text, "merge_strategy": REPLACE})
        answer = await self._ask(
            "PATCH", _path_of(memory_id), operation="update", is_write=True, absent=True, content=body
        )
        return None if answer.status == _NOT_FOUND else read_memory(answer, is_write=True)

    async def delete(self, memory_id: str) -> bool:
        """Delete one memory; see `SynapClient`. Doing it twice is doing it once."""
        answer = await self._ask("DELETE", _path_of(memory_id), operation="delete", absent=True)
        return answer.status != _NOT_FOUND

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        is_write: bool = False,
        absent: bool = False,
        content: bytes | None = None,
    ) -> Answer:
        sent_id = f"mx_{self._token()}"
        request: dict[str, Any] = {"headers": {"X-Correlation-ID": sent_id}}
        if content is not None:
            request["content"] = content
        response = await exchange(
            self._client,
            method,
            path,
            is_write=is_write,
            provider=NAME,
            operation=operation,
            correlation_id=sent_id,
            **request,
        )
        correlation_id = response.headers.get("x-correlation-id") or sent_id
        answer = Answer(response.status_code, response.headers, response.content, correlation_id, operation)
        if _is_success(answer, is_write=is_write, absent=absent):
            return answer
        raise refusal(answer, is_write=is_write, now=self._now())


def _path_of(memory_id: str) -> str:
    return f"{_MEMORIES}/{quote(memory_id, safe='')}"


def _is_success(answer: Answer, *, is_write: bool, absent: bool) -> bool:
    if answer.status == _NOT_FOUND:
        return absent
    return answer.status == _OK or (answer.status == _NO_CONTENT and not is_write)
