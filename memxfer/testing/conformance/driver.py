# ruff: noqa: S101 - asserting is what a test suite does
"""Driving a provider as the engine would: one step at a time, and without any help."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from memxfer.errors import BatchRefusedError
from memxfer.ids import DEFAULT_TEMPLATE, KeyTemplate
from memxfer.models import MemoryRecord
from memxfer.spi import (
    Document,
    IngestState,
    IngestStatus,
    MemoryProvider,
    Outcome,
    Page,
    Partition,
    Prepared,
    Role,
    StoreIdentity,
    SupportsIngestStatus,
    WriteReceipt,
)

__all__ = [
    "ORIGIN",
    "AnyProvider",
    "ProviderFactory",
    "Written",
    "key_of",
    "opened",
    "prepare_all",
    "read_partition",
    "read_records",
    "send",
    "settle",
    "write_all",
]

AnyProvider = MemoryProvider[Any]
ProviderFactory = Callable[[], AnyProvider]
Pause = Callable[[], Awaitable[None]]

ORIGIN = StoreIdentity("conformance", "suite")
"""Where the suite's records are said to come from."""

_TEMPLATE = KeyTemplate(DEFAULT_TEMPLATE, provider=ORIGIN.provider, namespace=ORIGIN.namespace)
_MAX_POLLS = 200
_MAX_PAGES = 10_000
_DONE = (Outcome.CREATED, Outcome.UPDATED, Outcome.PRESENT)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one record.

    Attributes:
        record: The record.
        prepared: What the target made of it before sending.
        receipt: The answer, if it was sent.
        status: Its final status, if it was accepted first and stored later.
    """

    record: MemoryRecord
    prepared: Prepared
    receipt: WriteReceipt | None = None
    status: IngestStatus | None = None

    @property
    def is_stored(self) -> bool:
        """Tell whether the target says that it has the record."""
        if self.status is not None:
            return self.status.state is IngestState.STORED
        return self.receipt is not None and self.receipt.outcome in _DONE


def key_of(record: MemoryRecord) -> str:
    """Return the document key of a record of the suite's."""
    return _TEMPLATE.key(record)


@asynccontextmanager
async def opened(factory: ProviderFactory, role: Role) -> AsyncIterator[AnyProvider]:
    """Give a connected provider; close it at the end, since some stores can be open only once."""
    provider = factory()
    try:
        await provider.connect(role)
        yield provider
    finally:
        await provider.aclose()


def prepare_all(provider: AnyProvider, records: Sequence[MemoryRecord]) -> list[Prepared]:
    """Prepare records under the suite's keys."""
    return [provider.prepare(record, key_of(record), {}) for record in records]


async def send(provider: AnyProvider, documents: Sequence[Document]) -> list[WriteReceipt]:
    """Write documents in batches of what the target takes; a refused batch is halved, as the engine does."""
    writing = provider.capabilities().writing
    size = writing.max_batch if writing else 1
    receipts: list[WriteReceipt] = []
    for start in range(0, len(documents), size):
        receipts += await _send_batch(provider, documents[start : start + size])
    return receipts


async def _send_batch(provider: AnyProvider, batch: Sequence[Document]) -> list[WriteReceipt]:
    try:
        return await provider.write(batch)
    except BatchRefusedError as error:
        if len(batch) == 1:
            return [WriteReceipt(Outcome.REJECTED, error=error)]
    half = len(batch) // 2
    return [*await _send_batch(provider, batch[:half]), *await _send_batch(provider, batch[half:])]


async def settle(
    provider: AnyProvider, receipts: Sequence[WriteReceipt], pause: Pause
) -> list[IngestStatus | None]:
    """Ask for the progress of pending documents until each has ended."""
    return [await _poll(provider, receipt, pause) for receipt in receipts]


async def _poll(provider: AnyProvider, receipt: WriteReceipt, pause: Pause) -> IngestStatus | None:
    if receipt.outcome is not Outcome.PENDING:
        return None
    assert isinstance(provider, SupportsIngestStatus), "a receipt is PENDING: ingest_status is needed"
    assert receipt.ingestion_id is not None, "a receipt is PENDING, but has no ingestion_id to ask with"
    for _ in range(_MAX_POLLS):
        status = await cast("SupportsIngestStatus", provider).ingest_status(receipt.ingestion_id)
        if status.state is not IngestState.PROCESSING:
            return status
        await pause()
    raise AssertionError(f"a document is still processing after {_MAX_POLLS} questions")


async def write_all(
    provider: AnyProvider, records: Sequence[MemoryRecord], *, pause: Pause, finish: bool = True
) -> list[Written]:
    """Do everything the engine does to a target, for a handful of records."""
    await provider.begin(ORIGIN)
    prepared = prepare_all(provider, records)
    receipts = await send(provider, [item for item in prepared if isinstance(item, Document)])
    statuses = await settle(provider, receipts, pause)
    if finish:
        await provider.finish()
    answers = iter(zip(receipts, statuses, strict=True))
    return [
        Written(record, item, *next(answers)) if isinstance(item, Document) else Written(record, item)
        for record, item in zip(records, prepared, strict=True)
    ]


async def read_partition(
    provider: AnyProvider, partition: Partition, *, limit: int, cursor: str | None = None
) -> list[Page]:
    """Read the pages of a partition, from a cursor on."""
    pages: list[Page] = []
    for _ in range(_MAX_PAGES):
        page = await provider.read_page(partition, cursor, limit)
        pages.append(page)
        if page.next_cursor is None:
            return pages
        assert page.next_cursor != cursor, "the listing goes in a circle: a page's next cursor is its own"
        cursor = page.next_cursor
    raise AssertionError(f"the listing does not end within {_MAX_PAGES} pages")


async def read_records(provider: AnyProvider, *, limit: int = 100) -> list[MemoryRecord]:
    """Read every record; a row that does not read is an error here."""
    records: list[MemoryRecord] = []
    async for partition in provider.list_partitions():
        for page in await read_partition(provider, partition, limit=limit):
            assert not page.defects, f"a row cannot be read: {page.defects[0].error}"
            records += page.records
    return records
