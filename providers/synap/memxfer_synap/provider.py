"""Synap as a target."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from memxfer.spi import (
    AmbiguousError,
    BackendInfo,
    BatchRefusedError,
    Capabilities,
    ConfigError,
    ContextPackage,
    Document,
    Hit,
    IngestState,
    IngestStatus,
    Joined,
    MemoryProvider,
    MemoryRecord,
    Outcome,
    Prepared,
    ProviderError,
    RecordError,
    Role,
    Scope,
    StoreIdentity,
    WriteReceipt,
)
from memxfer_synap.capabilities import capabilities_of
from memxfer_synap.client.port import (
    BatchAnswer,
    ContextAnswer,
    ContextQuery,
    SynapClient,
    WhoAmI,
)
from memxfer_synap.config import SynapConfig
from memxfer_synap.mapping import document_of
from memxfer_synap.memories import (
    check_whole,
    checked_text,
    hits_of,
    is_memory_id,
    merged,
    package_of,
    query_of,
    record_of,
    wider_of,
)
from memxfer_synap.transcripts import LANE, join_parts, sent_transcript

__all__ = ["SynapProvider"]


class SynapProvider(MemoryProvider[SynapConfig]):
    """Hands records to Synap as documents, under stable ids, with their own dates.

    Synap accepts first and extracts later: receipts are `PENDING`, and `ingest_status` tells what
    became of a document. It has no listing, so the job's ledger is the only inventory.
    """

    name: ClassVar[str] = "synap"
    summary: ClassVar[str] = "Synap (Maximem): documents in, extracted memories out; target only"
    config_model = SynapConfig
    claim_settings: ClassVar[Mapping[str, str]] = {
        "writing.client_key": "duplicate_policy",
        "read_time.levels": "fetch_levels",
    }

    _client: SynapClient | None = None
    _whoami: WhoAmI | None = None

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        """Ask whose key it is, whether the instance takes calls, and whether the settings fit it.

        The vendor's own `initialize()` succeeds with a wrong key and without a server (SDK 0.6.9),
        so memxfer asks by itself, also where the SDK does the sending. Nothing is written.
        """
        if self.role not in (None, role) and self.config.cache != "off":
            await self._aclose()  # only an app's connection has a cache
        if self._client is not None and self._whoami is not None:
            return self._info(self._whoami)
        from memxfer_synap.client.http import HttpSynapClient

        http = HttpSynapClient(
            self.config.url,
            api_key=self.config.api_key.get_secret_value(),
            timeouts=self.config.timeouts,
            now=self.clock.now,
        )
        keep = False
        try:
            whoami = await http.whoami()
            self._check_settings(whoami)
            await http.check_ready()
            self._client = http if self.config.transport == "http" else await self._open_sdk(whoami, role)
            self._whoami = whoami
            keep = self._client is http
        finally:
            if not keep:
                await http.aclose()
        return self._info(whoami)

    async def _open_sdk(self, whoami: WhoAmI, role: Role) -> SynapClient:
        from memxfer_synap.client.sdk import open_sdk_client

        is_cached = role is Role.APP and self.config.cache == "sqlite"
        return await open_sdk_client(self.config, whoami, now=self.clock.now, is_cached=is_cached)

    async def _aclose(self) -> None:
        client, self._client, self._whoami = self._client, None, None
        if client is not None:
            await client.aclose()

    def store(self) -> StoreIdentity:
        """Return the instance; one API key is one instance."""
        if self._whoami is None:
            raise ProviderError("synap is not connected; call connect first", provider=self.name)
        return StoreIdentity(self.name, self._whoami.instance_id)

    def _capabilities(self) -> Capabilities:
        """Return what the instance keeps; before `connect`, what a B2B instance would."""
        return capabilities_of(self.config, is_b2c=self._is_b2c)

    def sdk_package(self) -> str | None:
        """Return the SDK's distribution where it does the sending."""
        return "maximem-synap" if self.config.transport == "sdk" else None

    @property
    def _is_b2c(self) -> bool:
        return self._whoami is not None and self._whoami.is_b2c

    def _check_settings(self, whoami: WhoAmI) -> None:
        config = self.config
        if config.instance_id and config.instance_id.lower() != whoami.instance_id.lower():
            raise ConfigError(
                f"instance_id = {config.instance_id!r}, but api_key belongs to {whoami.instance_id}; "
                "correct one of them"
            )
        if not whoami.is_b2c:
            return
        if config.customer_id:
            raise ConfigError(
                f"customer_id is set, but {whoami.instance_id} is a B2C instance and takes none; remove it"
            )
        if config.unscoped == "customer":
            raise ConfigError(
                f'unscoped = "customer", but {whoami.instance_id} is a B2C instance without customers; '
                'use "skip", "client" or "assign:USER"'
            )

    def _info(self, whoami: WhoAmI) -> BackendInfo:
        kind = "B2C" if whoami.is_b2c else "B2B"
        details = {
            "instance": whoami.instance_id,
            "client": whoami.client_id,
            "mode": kind,
            "transport": self.config.transport,
            "address": self.config.url,
        }
        return BackendInfo(
            f"Synap instance {whoami.instance_id}, {kind}", tuple(self._warnings(whoami)), details
        )

    def _warnings(self, whoami: WhoAmI) -> list[str]:
        warnings = []
        if whoami.isolation is None:
            warnings.append("the server does not say whether it is B2B or B2C; it is taken for B2B")
        if not whoami.is_b2c and not self.config.customer_id:
            warnings.append(
                'no customer_id is set: records without a tenant cannot be written; add customer_id = "NAME"'
            )
        return warnings

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        is_app = self.role is Role.APP
        return document_of(record, key, envelope, config=self.config, is_b2c=self._is_b2c, is_app=is_app)

    def join(self, parts: Sequence[Document]) -> Sequence[Joined]:
        """Put the turns of a conversation together, in the order of their times; one call, of any length."""
        return [join_parts(parts)]

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        if any(document.lane.startswith(LANE) for document in batch):
            return [await self._write_transcript(batch)]

        first = {document.key: index for index, document in reversed(list(enumerate(batch)))}
        sent = [document for index, document in enumerate(batch) if first[document.key] == index]
        bodies = [document.body for document in sent]
        receipts = await self._receipts(sent, lambda client: client.create_batch(bodies))
        by_key = dict(zip((document.key for document in sent), receipts, strict=True))
        return [
            by_key[document.key] if first[document.key] == index else _collision()
            for index, document in enumerate(batch)
        ]

    async def create(self, document: Document) -> WriteReceipt:
        """Send what an app says just now by `memories.create`; Synap's batch call is for backfills.

        The vendor puts `create` at 100 ms and `batch_create` at 500 ms (P95, its page on run-time ingestion).
        Keys, receipts and doubt are those of `write` for a batch of one.

        Raises:
            RateLimitedError, UnavailableError: Certainly nothing was stored; send it again later.
            AuthError, QuotaExceededError: Certainly nothing was stored.
        """
        self._check_ready(Role.TARGET)
        if document.lane.startswith(LANE):
            return await self._write_transcript([document])
        [receipt] = await self._receipts([document], lambda client: client.create(document.body))
        return receipt

    async def _receipts(
        self, sent: Sequence[Document], send: Callable[[SynapClient], Awaitable[BatchAnswer]]
    ) -> list[WriteReceipt]:
        """Send documents of different keys, and tell from the answer what became of each."""
        from memxfer_synap.receipts import receipts_of, rejected, unknown

        try:
            answer = await send(self._connected())
        except AmbiguousError as error:
            return [unknown(error) for _ in sent]
        except BatchRefusedError as error:
            if len(sent) > 1:
                raise
            return [rejected(error)]
        return receipts_of(sent, answer)

    async def _write_transcript(self, batch: Sequence[Document]) -> WriteReceipt:
        from memxfer_synap.receipts import receipt_of_transcript, transcript_refused, unknown

        if len(batch) != 1:
            raise ProviderError(
                "a conversation goes to synap in a request of its own: documents of several lanes were mixed",
                provider=self.name,
                operation="write",
            )
        try:
            answer = await self._connected().ingest_transcript(batch[0].body)
            sent, names = sent_transcript(batch[0])
            return receipt_of_transcript(answer, sent=sent, names=names)
        except AmbiguousError as error:
            return unknown(error)
        except BatchRefusedError as error:
            return transcript_refused(error)

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        """Return how far Synap is with one accepted document.

        Synap extracts: `completed` without a memory is legal, and `STORED` without target ids then. An answer
        about another document tells nothing: this one counts as `PROCESSING` still.

        Raises:
            TransientError: The question could not be asked now.
            FatalError: The key or the account is refused.
        """
        from memxfer_synap.receipts import status_of

        self._check_ready(Role.TARGET)
        job = await self._connected().job(ingestion_id)
        return IngestStatus(IngestState.GONE) if job is None else status_of(job, asked=ingestion_id)

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Delete memories one by one; return how many were there. May be repeated after an error.

        What is no id of Synap's (they are UUIDs) is not there.

        Raises:
            TransientError: Some are left; call again with the same ids.
            FatalError: The key or the account is refused.
        """
        self._check_ready(Role.TARGET)
        client = self._connected()
        return sum([await client.delete(one) for one in target_ids if is_memory_id(one)])

    # -- for apps -----------------------------------------------------------------------------

    async def search(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return the memories of a scope that fit best, best first, by Synap's own ranking.

        A ranked context fetch (SDK 0.6.9, `response_shape="ranked"`) of the level that the scope's memories
        are written to, and of those above it: user, customer, client. The vendor's pages and its SDK
        disagree whether Synap puts them together by itself, so each is asked, unless `fetch_levels` or a
        probe says `merged`. Quotes from documents, which Synap mixes in, are left out. A blank query finds
        nothing: Synap would answer it with a profile.

        Args:
            query: What to look for.
            scope: Whose memories. Agent, app and group do not narrow it; a session is a hint.
            limit: Most hits.

        Raises:
            ValueError: The scope names nobody.
            UnavailableError: Nothing was found because Synap could not look properly (`code="degraded"`),
                or it cannot be reached.
            TransientError, FatalError: As classified.
        """
        asked = self._asked(query, scope, limit)
        answer = await self._fetch(asked)
        hits = hits_of(answer, asked)
        check_whole(answer, is_empty=not hits)
        return hits

    async def package(self, query: str, *, scope: Scope, limit: int) -> ContextPackage:
        """Return what fits a question: the conversation's summary where Synap has one, memories, quotes.

        The same fetch as `search`. `memories` has the quotes too, of kind `document`; their ids are no
        memories' ids.

        Args:
            query: What the prompt is about.
            scope: Whose memories; as for `search`.
            limit: Most memories and quotes.

        Raises:
            ValueError, UnavailableError, TransientError, FatalError: As `search`.
        """
        asked = self._asked(query, scope, limit)
        answer = await self._fetch(asked)
        made = package_of(answer, asked)
        check_whole(answer, is_empty=not made.text)
        return made

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a memory by `memories.get`; without its owner, date and metadata, which that does not tell.

        Raises:
            TransientError, FatalError: As classified.
        """
        self._check_ready(Role.TARGET)
        client = self._connected()
        found = await client.get(record_id) if is_memory_id(record_id) else None
        return None if found is None else record_of(found, Scope())

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Put another text in the place of a memory's, by `memories.update` with the strategy `replace`.

        Raises:
            RecordError: There is no text, or too much, or Synap refuses it.
            AmbiguousError: It may have happened; doing it again does no harm.
            TransientError, FatalError: It has not.
        """
        self._check_ready(Role.TARGET)
        client = self._connected()
        text = checked_text(content, self.config.document_bytes)
        found = await client.update(record_id, text) if is_memory_id(record_id) else None
        return None if found is None else record_of(found, Scope())

    def _asked(self, text: str, scope: Scope, limit: int) -> ContextQuery:
        self._check_ready(Role.TARGET)
        return query_of(text, scope=scope, limit=limit, config=self.config, is_b2c=self._is_b2c)

    async def search_level(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return what one fetch at the level of `scope` gives; `search` without the levels above.

        Raises:
            ValueError, UnavailableError, TransientError, FatalError: As `search`.
        """
        asked = self._asked(query, scope, limit)
        answer = await self._connected().fetch(asked)
        hits = hits_of(answer, asked)
        check_whole(answer, is_empty=not hits)
        return hits

    def levels_of(self, owner: str) -> tuple[Scope, Scope] | None:
        """Return a user and a customer of a probe's own; on B2C, what is above a user is everybody's."""
        if self._is_b2c:
            return None
        customer = Scope(tenant=f"{owner}-tenant")
        return Scope(user=owner, tenant=customer.tenant), customer

    async def _fetch(self, asked: ContextQuery) -> ContextAnswer:
        """Ask the level that is meant, and those above it side by side."""
        if asked.limit < 1 or not asked.text.strip():
            return ContextAnswer(())
        is_merged = self.capabilities().read_time.levels == "merged"
        wider = [] if is_merged else wider_of(asked)
        if not wider:
            return await self._connected().fetch(asked)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._answered(one)) for one in (asked, *wider)]
        own, *others = [task.result() for task in tasks]
        if isinstance(own, ProviderError):
            raise own
        levels = zip((one.level for one in wider), map(_whatever, others), strict=True)
        return merged([(asked.level, own), *levels])

    async def _answered(self, asked: ContextQuery) -> ContextAnswer | ProviderError:
        try:
            return await self._connected().fetch(asked)
        except ProviderError as error:
            return error

    def _connected(self) -> SynapClient:
        if self._client is None:
            raise ProviderError("synap is not connected; call connect first", provider=self.name)
        return self._client


def _whatever(answer: ContextAnswer | ProviderError) -> ContextAnswer:
    """Return an answer; a level that could not be asked makes the whole an answer that lacks something."""
    if isinstance(answer, ProviderError):
        return ContextAnswer((), degraded=f"a wider level was not read: {type(answer).__name__}")
    return answer


def _collision() -> WriteReceipt:
    error = RecordError(
        "another document of the same batch has the same key; it was sent, this one was not",
        provider="synap",
        operation="write",
        code="key_collision",
    )
    return WriteReceipt(Outcome.REJECTED, error=error)
