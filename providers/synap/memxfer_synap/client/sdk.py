"""The vendor's SDK as a client: everything it does by itself switched off, its answers read from the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec

from memxfer.spi import (
    AmbiguousError,
    FatalError,
    ProviderError,
    ProviderNotInstalledError,
    UnavailableError,
    parse_time,
)
from memxfer.transport import classify, open_client
from memxfer_synap.client.answers import (
    NAME,
    Answer,
    read_batch,
    read_created,
    read_job,
    read_transcript,
    refusal,
)
from memxfer_synap.client.caching import GuardedCache, install_cache
from memxfer_synap.client.contexts import REPLACE, context_of, memory_of, read_context, read_memory
from memxfer_synap.client.port import (
    BatchAnswer,
    ContextAnswer,
    ContextQuery,
    FoundMemory,
    Job,
    Row,
    SynapClient,
    TranscriptAnswer,
    WhoAmI,
)
from memxfer_synap.client.recording import Recording, observe, recording
from memxfer_synap.client.sdk_errors import from_sdk, unsent
from memxfer_synap.config import SynapConfig

__all__ = ["SdkSynapClient", "open_sdk_client"]

_START_SECONDS = 10.0
"""What the SDK's own work at its start may take on a busy machine, beside its request."""
_OK = (200, 204)
_NOT_FOUND = 404


async def open_sdk_client(
    config: SynapConfig, whoami: WhoAmI, *, now: Callable[[], datetime], is_cached: bool = False
) -> SynapClient:
    """Build and silence the vendor's SDK.

    Retries and the disk cache are off by configuration; see `caching` for the cache that apps may switch
    on. Telemetry and the heartbeat have no setting
    in 0.6.9: the objects that do them are stopped. `_force_new`, because a second SDK of one process
    would quietly be the first one, with its address and key.

    Args:
        config: The connection's settings.
        whoami: What the preflight found.
        now: Gives the time of day.
        is_cached: Whether fetches may be answered from the disk for some minutes.

    Raises:
        ConfigError: The cache is wanted, and its folder cannot be used.
        ProviderNotInstalledError: `maximem-synap` is not installed.
        ProviderError: The SDK does not start.
    """
    vendor = _import_sdk()
    limits = config.timeouts
    sdk = vendor.MaximemSynapSDK(
        instance_id=whoami.instance_id,
        api_key=config.api_key.get_secret_value(),
        config=vendor.SDKConfig(
            api_base_url=config.url,
            cache_backend=None,
            retry_policy=None,
            history_search_model=None,
            timeouts=vendor.TimeoutConfig(connect=limits.connect, read=limits.read, write=limits.write),
        ),
        _force_new=True,
    )
    try:
        # On a loop of its own: it builds two HTTP clients on the way, and reading the machine's trusted
        # certificates for each holds a loop up for 20 ms. It keeps a client per loop (0.6.9), and what
        # it starts there besides ends with that loop.
        # Its own `whoami` there is not sent through our client, so the whole has a bound in time.
        seconds = _START_SECONDS + limits.connect + limits.read + limits.write
        with _given_up_on_failure(sdk):
            await asyncio.to_thread(lambda: asyncio.run(_initialized(sdk, seconds=seconds)))
    except vendor.SynapError as error:
        raise from_sdk(error, operation="connect", is_write=False, now=now()) from error
    except TimeoutError as error:
        raise UnavailableError(
            "the Synap SDK did not start in time: the server does not finish its answer; check base_url, "
            'or set transport = "http"',
            provider=NAME,
            operation="connect",
            code="no_answer",
        ) from error
    except Exception as error:
        raise FatalError(
            f"the Synap SDK does not start on what the server says ({type(error).__name__}); check "
            'base_url, or set transport = "http"',
            provider=NAME,
            operation="connect",
            code="sdk",
        ) from error
    _silence(sdk)
    sees_wire = _send_through(sdk, config)
    try:
        cache = install_cache(sdk, config, whoami) if is_cached else None
    except BaseException:
        await SdkSynapClient(sdk, sees_wire=sees_wire, now=now).aclose()
        raise
    return SdkSynapClient(sdk, sees_wire=sees_wire, now=now, cache=cache)


@contextlib.contextmanager
def _given_up_on_failure(sdk: Any) -> Iterator[None]:
    """Close what an SDK opens when it is built, and closes (0.6.9) only once it has started."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            sdk._turn_store.close()  # noqa: SLF001 - it has no public way before it has started
        raise


async def _initialized(sdk: Any, *, seconds: float) -> None:
    """Initialise the SDK, and close the clients that it opened for this loop alone.

    Raises:
        TimeoutError: It takes longer than `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            await sdk.initialize()
    finally:
        transport = getattr(sdk, "_http_transport", None)
        opened = getattr(transport, "_clients", {})
        while opened:
            _, (_, client) = opened.popitem()
            await client.aclose()


def _import_sdk() -> Any:
    try:
        import maximem_synap
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "maximem_synap":
            raise
        raise ProviderNotInstalledError(
            "the Synap SDK is not installed: pip install 'memxfer[synap]', "
            'or set transport = "http" on the connection, which needs none'
        ) from error
    return maximem_synap


def _silence(sdk: Any) -> None:
    """Stop telemetry and heartbeat; private parts of 0.6.9, left alone where they are missing."""
    collector = getattr(sdk, "_telemetry_collector", None)
    if collector is not None:
        collector.enabled = False
        _cancel(getattr(collector, "_flush_task", None))
        queued = getattr(collector, "_queue", None)
        if queued is not None:
            queued.clear()
    transport = getattr(sdk, "_http_transport", None)
    if transport is None:
        return
    transport.telemetry_callback = None
    # On this object, not on its class: other SDKs of the process are not ours to change.
    transport._heartbeat_interval = 0  # noqa: SLF001 - 0.6.9 offers no setting
    for task in getattr(transport, "_heartbeat_tasks", {}).values():
        _cancel(task)


def _cancel(task: Any) -> None:
    if task is not None:
        task.cancel()


def _send_through(sdk: Any, config: SynapConfig) -> bool:
    """Give the SDK our client, where it takes one; return whether it does.

    `HTTPTransport._client` is a property with a setter in 0.6.9: the client set there serves every
    request, and the SDK closes it at shutdown.
    """
    transport = getattr(sdk, "_http_transport", None)
    slot = getattr(type(transport), "_client", None)
    if not isinstance(slot, property) or slot.fset is None:
        return False
    client: httpx.AsyncClient = open_client(config.url, timeouts=config.timeouts, observe=observe)
    slot.fset(transport, client)
    return True


class SdkSynapClient:
    """A `SynapClient` over `MaximemSynapSDK`.

    Args:
        sdk: Initialised and silenced.
        sees_wire: Whether its exchanges can be observed.
        now: Gives the time of day.
        cache: What fetches may be answered from.
    """

    def __init__(
        self, sdk: Any, *, sees_wire: bool, now: Callable[[], datetime], cache: GuardedCache | None = None
    ) -> None:
        self._sdk = sdk
        self._cache = cache
        self._sees_wire = sees_wire
        self._now = now

    async def create_batch(self, documents: Sequence[bytes]) -> BatchAnswer:
        """Hand in the documents by `memories.batch_create`; see `SynapClient`."""
        fields = [msgspec.json.decode(document) for document in documents]
        found, answer = await self._call(
            "write", lambda: self._sdk.memories.batch_create(fields), is_write=True
        )
        return read_batch(answer) if answer else _rows(found.results)

    async def create(self, document: bytes) -> BatchAnswer:
        """Hand in one document by `memories.create`; see `SynapClient`."""
        fields = msgspec.json.decode(document)
        found, answer = await self._call("write", lambda: self._sdk.memories.create(**fields), is_write=True)
        return read_created(answer, sent_id=fields["document_id"]) if answer else _rows([found])

    async def ingest_transcript(self, transcript: bytes) -> TranscriptAnswer:
        """Hand in one conversation by `conversation.ingest_transcript`; see `SynapClient`."""
        fields = _with_times(msgspec.json.decode(transcript))
        found, answer = await self._call(
            "write", lambda: self._sdk.conversation.ingest_transcript(**fields), is_write=True
        )
        if answer is not None:
            return read_transcript(answer)
        names = (found.conversation_id, found.external_conversation_id)
        return TranscriptAnswer(str(found.ingestion_id), str(found.status), None, found.turns_recorded, names)

    async def job(self, ingestion_id: str) -> Job | None:
        """Return one document's progress by `memories.status`; see `SynapClient`."""
        found, answer = await self._call(
            "ingest_status", lambda: self._sdk.memories.status(ingestion_id), absent=True
        )
        if answer is not None:
            return None if answer.status == _NOT_FOUND else read_job(answer)
        return None if found is None else _job(found)

    async def fetch(self, asked: ContextQuery) -> ContextAnswer:
        """Return what fits a question by `{user,customer,client,conversation}.context.fetch`."""
        scope = getattr(self._sdk, asked.level).context
        with self._cache.asking(asked) if self._cache else contextlib.nullcontext():
            found, answer = await self._call(
                "search",
                lambda: scope.fetch(**_fetch_arguments(asked)),
                absent=asked.level == "conversation",
                is_local=self._cache is not None,
            )
        if answer is not None:
            gone = ContextAnswer((), correlation_id=answer.correlation_id)
            return gone if answer.status == _NOT_FOUND else read_context(answer)
        return ContextAnswer(()) if found is None else context_of(found.raw, None)

    async def get(self, memory_id: str) -> FoundMemory | None:
        """Return one memory by `memories.get`; see `SynapClient`."""
        found, answer = await self._call("get", lambda: self._sdk.memories.get(memory_id), absent=True)
        return _memory(found, answer, is_write=False)

    async def update(self, memory_id: str, text: str) -> FoundMemory | None:
        """Replace a memory's text by `memories.update`; see `SynapClient`."""
        async with self._changing():
            found, answer = await self._call(
                "update",
                lambda: self._sdk.memories.update(memory_id, text, merge_strategy=REPLACE),
                is_write=True,
                absent=True,
            )
        return _memory(found, answer, is_write=True)

    async def delete(self, memory_id: str) -> bool:
        """Delete by `memories.delete`; see `SynapClient`."""
        async with self._changing():
            found, answer = await self._call(
                "delete", lambda: self._sdk.memories.delete(memory_id), absent=True
            )
        return answer.status != _NOT_FOUND if answer else found is not None

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Forget what is cached once a memory has changed, or may have."""
        try:
            yield
        finally:
            if self._cache is not None:
                self._cache.drop()
                await asyncio.to_thread(self._cache.sweep)

    async def aclose(self) -> None:
        """Shut the SDK down; it closes our client with it."""
        with contextlib.suppress(Exception):  # closing must not hide what the job found out
            await self._sdk.shutdown()
        if self._cache is not None:
            self._cache.close()

    async def _call(
        self,
        operation: str,
        call: Callable[[], Awaitable[Any]],
        *,
        is_write: bool = False,
        absent: bool = False,
        is_local: bool = False,
    ) -> tuple[Any, Answer | None]:
        """Call the SDK; return what it made of the answer, and the answer as it came.

        A complete success counts even where the SDK choked on it: the batch was accepted.

        Args:
            operation: What is done, for errors.
            call: The call.
            is_write: Whether doing it twice would do it twice.
            absent: Whether 404 is an answer.
            is_local: Whether the SDK may answer without asking.
        """
        found, failure = None, None
        with recording() as wire:
            try:
                found = await call()
            except Exception as error:  # noqa: BLE001 - after a send, whatever it is must become a receipt
                failure = error
        answer = wire.answer(operation, getattr(failure, "correlation_id", None))
        is_seen = self._sees_wire and not (is_local and wire.is_empty)
        if failure is None and (answer is not None or not is_seen):
            return found, answer
        if answer is not None and (answer.status in _OK or (absent and answer.status == _NOT_FOUND)):
            return found, answer
        meaning = self._translated(failure, wire, answer, operation, is_write)
        if absent and meaning.code == "not_found":
            return None, None
        raise meaning from failure

    def _translated(
        self,
        failure: Exception | None,
        wire: Recording,
        answer: Answer | None,
        operation: str,
        is_write: bool,
    ) -> ProviderError:
        if answer is not None:
            return refusal(answer, is_write=is_write, now=self._now())
        if wire.error is not None:
            return classify(wire.error, is_write=is_write, provider=NAME, operation=operation)
        if wire.response is not None or failure is None:
            return _cut_off(operation, is_write)
        if self._sees_wire:
            return unsent(failure, operation=operation, is_write=is_write)
        return from_sdk(failure, operation=operation, is_write=is_write, now=self._now())


def _with_times(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a transcript's fields as the SDK wants them: times of the whole as `datetime`."""
    whole = ("started_at", "ended_at")
    return {name: parse_time(value) if name in whole else value for name, value in fields.items()}


def _fetch_arguments(asked: ContextQuery) -> dict[str, Any]:
    """Return what the SDK's fetch of a level takes; each takes the ids of its own level alone."""
    ids = {
        "user": {"user_id": asked.user_id, "customer_id": asked.customer_id},
        "customer": {"customer_id": asked.customer_id},
    }.get(asked.level, {})
    return {
        **ids,
        "conversation_id": asked.conversation_id,
        "search_query": [asked.text],
        "max_results": asked.limit,
        "mode": asked.mode,
        "response_shape": "ranked",
    }


def _memory(found: Any, answer: Answer | None, *, is_write: bool) -> FoundMemory | None:
    """Return a memory as it came over the wire, else as the SDK read it."""
    if answer is not None:
        return None if answer.status == _NOT_FOUND else read_memory(answer, is_write=is_write)
    return None if found is None else memory_of(found.model_dump(mode="json"))


def _cut_off(operation: str, is_write: bool) -> ProviderError:
    kind = AmbiguousError if is_write else UnavailableError
    return kind("synap's answer was cut off", provider=NAME, operation=operation, code="no_answer")


def _rows(found: Sequence[Any]) -> BatchAnswer:
    """Read the SDK's own `CreateMemoryResponse`s."""
    rows = tuple(
        Row(row.document_id, str(row.ingestion_id), str(row.status), row.error_message) for row in found
    )
    return BatchAnswer(rows, None)


def _job(found: Any) -> Job:
    """Read the SDK's own `MemoryStatusResponse`."""
    memory_ids = tuple(map(str, found.memory_ids))
    return Job(
        str(found.status),
        memory_ids,
        found.error_message or "",
        None,
        str(found.ingestion_id),
        found.memories_created,
    )
