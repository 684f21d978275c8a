# ruff: noqa: S101 - asserting is what a test suite does
"""Whether writes do what their receipts say: once, twice, changed, refused, half-way interrupted."""

from __future__ import annotations

from collections import Counter
from typing import cast

import msgspec
import pytest

from memxfer.capabilities import ClientKey
from memxfer.errors import BatchRefusedError, ProviderError
from memxfer.spi import (
    Document,
    IngestState,
    Outcome,
    Role,
    SupportsDelete,
    SupportsIngestStatus,
    SupportsLookup,
)
from memxfer.testing.conformance.basis import ConformanceBasis, Oracle, requires
from memxfer.testing.conformance.driver import (
    ORIGIN,
    AnyProvider,
    ProviderFactory,
    Written,
    key_of,
    opened,
    prepare_all,
    send,
    settle,
    write_all,
)

__all__ = ["WriteTests"]

_STORED_ONCE = (ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT)
_STEPS = ("connect", "begin", "write", "settle", "finish")


class WriteTests(ConformanceBasis):
    """Whether writes do what their receipts say."""

    @requires("target")
    @pytest.mark.anyio
    async def test_receipts_tell_what_is_stored(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """One receipt per document, in order; what they call stored is there, once."""
        records = self.records(self.suite_config.records)
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, records, pause=self.pause)
            writing = target.capabilities().writing
        assert all(item.is_stored for item in written)
        if writing and writing.reports_ids:
            ids = [_target_ids(item) for item in written]
            assert all(ids), "reports_ids is declared, but a stored document has no target id"
            assert len({first for first, *_ in ids}) == len(ids), "two documents have one target id"
        await _expect(stored_documents, Counter(record.content for record in records))

    @requires("target")
    @pytest.mark.anyio
    async def test_fullest_batch_is_taken(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """`max_batch` documents go in one write."""
        async with opened(provider_factory, Role.TARGET) as target:
            writing = target.capabilities().writing
            assert writing is not None
            records = self.records(min(writing.max_batch, self.suite_config.largest_batch))
            written = await write_all(target, records, pause=self.pause)
        assert all(item.is_stored for item in written)
        await _expect(stored_documents, Counter(record.content for record in records))

    @requires("target")
    @pytest.mark.anyio
    async def test_second_write_of_a_key_is_as_declared(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """`client_key` decides what a resume may do: a false claim loses or doubles memories."""
        records = self.records(3)
        async with opened(provider_factory, Role.TARGET) as target:
            policy = _policy(target)
            if policy is ClientKey.UNKNOWN:
                pytest.skip("nothing is claimed about a second document of one key")
            first = await write_all(target, records, pause=self.pause)
            second = await write_all(target, records, pause=self.pause)
        assert all(item.is_stored for item in first)
        if policy is ClientKey.REJECT:
            assert [_code(item) for item in second] == ["duplicate"] * len(records)
        else:
            assert all(item.is_stored for item in second)
        copies = 1 if policy in _STORED_ONCE else 2
        await _expect(stored_documents, Counter({record.content: copies for record in records}))

    @requires("target")
    @pytest.mark.anyio
    async def test_changed_record_of_a_key_is_as_declared(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """UPSERT replaces what is there, DEDUPE and REJECT keep it."""
        old = self.record(0)
        new = msgspec.structs.replace(old, content="what became of it")
        async with opened(provider_factory, Role.TARGET) as target:
            policy = _policy(target)
            if policy not in _STORED_ONCE:
                pytest.skip(f"client_key is {policy}: a second document of one key is another document")
            await write_all(target, [old], pause=self.pause)
            await write_all(target, [new], pause=self.pause)
        kept = new if policy is ClientKey.UPSERT else old
        await _expect(stored_documents, Counter({kept.content: 1}))

    @requires("target")
    @pytest.mark.anyio
    async def test_equal_records_of_two_keys_are_both_stored(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """The key is what identifies a document: not its text, its owner or its source id."""
        one = self.record(0)
        other = msgspec.structs.replace(one, id=self.record_id(1))
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, [one, other], pause=self.pause)
        assert all(item.is_stored for item in written)
        await _expect(stored_documents, Counter({one.content: 2}))

    @requires("target")
    @pytest.mark.anyio
    async def test_bad_document_does_not_cost_the_others(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """One refused document: the rest is stored, or the whole batch is refused and nothing is."""
        records = self.records(3)
        async with opened(provider_factory, Role.TARGET) as target:
            documents = [item for item in prepare_all(target, records) if isinstance(item, Document)]
            bad = self.bad_document(documents[1])
            writing = target.capabilities().writing
            if bad is None or writing is None or writing.max_batch < len(records):
                pytest.skip("no document that the backend refuses is known (hook bad_document)")
            await target.begin(ORIGIN)
            try:
                receipts = await target.write([documents[0], bad, documents[2]])
            except BatchRefusedError:
                await _expect(stored_documents, Counter())
                return
            statuses = await settle(target, receipts, self.pause)
            await target.finish()
        written = [Written(*item) for item in zip(records, documents, receipts, statuses, strict=True)]
        assert [item.is_stored for item in written] == [True, False, True]
        assert _error(written[1]) is not None, "a refused document has no error to tell why"
        await _expect(stored_documents, Counter([records[0].content, records[2].content]))

    @requires("target", "lookup")
    @pytest.mark.anyio
    async def test_lookup_finds_exactly_what_is_there(self, provider_factory: ProviderFactory) -> None:
        """A doubtful write is settled by it: neither more nor fewer keys than are stored."""
        records = self.records(3)
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, records, pause=self.pause)
            await self.pause()
            absent = key_of(self.record(999))
            keys = [key_of(record) for record in records]
            found = await cast("SupportsLookup", target).lookup([*keys, absent])
        assert set(found) == set(keys)
        for item, key in zip(written, keys, strict=True):
            reported = set(_target_ids(item))
            assert found[key], "a key is found without a target id"
            assert reported <= set(found[key]), "the look-up does not know an id of the receipt"

    @requires("target", "delete")
    @pytest.mark.anyio
    async def test_delete_removes_by_target_id(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """Rollback deletes by the ids of the receipts; ids that are gone already are no error."""
        records = self.records(3)
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, records, pause=self.pause)
            ids = [target_id for item in written[:2] for target_id in _target_ids(item)]
            if not ids:
                pytest.skip("receipts carry no target ids")
            assert await cast("SupportsDelete", target).delete(ids) == len(ids)
            assert await cast("SupportsDelete", target).delete(ids) == 0
            await target.finish()
        await _expect(stored_documents, Counter([records[2].content]))

    @requires("target")
    @pytest.mark.anyio
    async def test_acknowledgement_is_as_declared(self, provider_factory: ProviderFactory) -> None:
        """`sync` never answers PENDING; `async` answers it with an ingestion id that can be asked for."""
        async with opened(provider_factory, Role.TARGET) as target:
            writing = target.capabilities().writing
            await target.begin(ORIGIN)
            documents = [i for i in prepare_all(target, self.records(3)) if isinstance(i, Document)]
            receipts = await send(target, documents)
            pending = [receipt for receipt in receipts if receipt.outcome is Outcome.PENDING]
            if writing and writing.acknowledges == "sync":
                assert pending == []
                return
            assert pending, "async is declared, but no document was pending"
            statuses = await settle(target, receipts, self.pause)
        assert all(status is None or status.state is IngestState.STORED for status in statuses)

    @requires("target", "ingest_status")
    @pytest.mark.anyio
    async def test_unknown_ingestion_is_gone(self, provider_factory: ProviderFactory) -> None:
        """An ingestion id that the target does not know is GONE: not stored, not an endless wait."""
        async with opened(provider_factory, Role.TARGET) as target:
            try:
                status = await cast("SupportsIngestStatus", target).ingest_status("no-such-ingestion")
            except ProviderError:
                return
        assert status.state in (IngestState.GONE, IngestState.FAILED)

    @requires("target")
    @pytest.mark.anyio
    @pytest.mark.parametrize("step", _STEPS)
    async def test_run_repeated_after_a_break_stores_once(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None, step: str
    ) -> None:
        """A process that ends after any step is run again from the start: keys keep it from doubling."""
        records = self.records(4)
        async with opened(provider_factory, Role.TARGET) as target:
            policy = _policy(target)
            if policy not in _STORED_ONCE:
                pytest.skip(f"client_key is {policy}: only a look-up or a person can tell")
            await self._run_until(target, step)
        async with opened(provider_factory, Role.TARGET) as target:
            await write_all(target, records, pause=self.pause)
        await _expect(stored_documents, Counter(record.content for record in records))

    async def _run_until(self, target: AnyProvider, step: str) -> None:
        if step == "connect":
            return
        await target.begin(ORIGIN)
        if step == "begin":
            return
        documents = [i for i in prepare_all(target, self.records(4)) if isinstance(i, Document)]
        receipts = await send(target, documents[:3])
        if step == "write":
            return
        await settle(target, receipts, self.pause)
        if step == "finish":
            await target.finish()


def _policy(target: AnyProvider) -> ClientKey:
    writing = target.capabilities().writing
    return writing.client_key if writing else ClientKey.NONE


def _target_ids(item: Written) -> tuple[str, ...]:
    if item.status is not None:
        return item.status.target_ids
    return item.receipt.target_ids if item.receipt else ()


def _error(item: Written) -> ProviderError | None:
    if item.status is not None:
        return item.status.error
    return item.receipt.error if item.receipt else None


def _code(item: Written) -> str | None:
    error = _error(item)
    return error.code if error else None


async def _expect(stored_documents: Oracle | None, expected: Counter[str]) -> None:
    """Compare what is stored, by text and number of copies."""
    if stored_documents is None:
        pytest.skip("a target alone, without a fixture stored_documents: what is stored was not seen")
    found = Counter(document.content for document in await stored_documents())
    assert not expected - found, "documents are missing"
    assert not found - expected, "documents are stored more often than expected"
