"""Providers that claim what is not so; each must fail the test it names (test_suite_catches_liars)."""

import itertools
import logging
import uuid
from typing import ClassVar

import msgspec
import pytest
from pydantic import SecretStr

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    ClientKey,
    Dimension,
    Document,
    IngestState,
    IngestStatus,
    Level,
    Outcome,
    Partition,
    RawPage,
    StoreIdentity,
    WriteReceipt,
)
from memxfer.testing import ProviderConformance
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

logger = logging.getLogger("memxfer.liar")


class Liar(ProviderConformance):
    """A suite over a subclass of the honest reference provider."""

    caught_by: ClassVar[str]
    settings: ClassVar[dict] = {}

    class Provider(MemoryReferenceProvider):
        pass

    @pytest.fixture
    def provider_factory(self):
        name = f"liar-{uuid.uuid4()}"
        config = MemoryConfig(provider="memory", store=name, **self.settings)
        yield lambda: self.Provider(config)
        MemoryStore.forget(name)


def altering(change):
    """A provider that stores `change(record)` instead of the record."""

    class Altering(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            prepared = super()._prepare(record, key, envelope)
            return msgspec.structs.replace(prepared, body=(change(record), {}))

    return Altering


def declaring(**changes):
    """A provider that declares something else than it does."""

    class Declaring(MemoryReferenceProvider):
        def _capabilities(self) -> Capabilities:
            true = super()._capabilities()
            return true.model_copy(
                update={
                    name: value
                    if isinstance(value, frozenset | tuple)
                    else _merged(getattr(true, name), value)
                    for name, value in changes.items()
                }
            )

    return Declaring


def _merged(old, new):
    return {**old, **new} if isinstance(old, dict) else old.model_copy(update=new)


class TestDropsTags(Liar):
    caught_by = "test_dimension_survives_as_declared[tags]"
    Provider = altering(lambda record: msgspec.structs.replace(record, tags=()))


class TestKeepsWhatItDeniesToKeep(Liar):
    caught_by = "test_dimension_survives_as_declared[tags]"
    Provider = declaring(dimensions={Dimension.TAGS: Channel()})


class TestCallsGoneLossy(Liar):
    caught_by = "test_dimension_survives_as_declared[tags]"
    settings: ClassVar[dict] = {"drops": frozenset({Dimension.TAGS})}
    Provider = declaring(dimensions={Dimension.TAGS: Channel(read=Level.NATIVE, write=Level.LOSSY)})


class TestRenamesIds(Liar):
    caught_by = "test_dimension_survives_as_declared[ids]"
    Provider = altering(lambda record: msgspec.structs.replace(record, id=record.id.upper()))


class TestSwallowsUnicode(Liar):
    caught_by = "test_content_is_kept_or_refused[accents]"
    Provider = altering(
        lambda record: msgspec.structs.replace(
            record, content=record.content.encode("ascii", "ignore").decode()
        )
    )


class TestNormalisesUnicode(Liar):
    caught_by = "test_content_is_kept_or_refused[combining]"
    Provider = altering(
        lambda record: msgspec.structs.replace(record, content=record.content.replace("e\u0301", "\u00e9"))
    )


class TestTrims(Liar):
    caught_by = "test_content_is_kept_or_refused[blanks]"
    Provider = altering(lambda record: msgspec.structs.replace(record, content=record.content.strip()))


class TestExcusesItself(Liar):
    caught_by = "test_content_is_kept_or_refused[nul]"
    Provider = altering(
        lambda record: msgspec.structs.replace(record, content=record.content.replace("\0", "?"))
    )

    def stored_text(self, text):
        return text.replace("\0", "?")


class TestCutsLongTexts(Liar):
    caught_by = "test_content_is_kept_or_refused[huge]"
    Provider = altering(lambda record: msgspec.structs.replace(record, content=record.content[:65_536]))


class TestForgetsZones(Liar):
    caught_by = "test_times_are_moments[with_offset]"
    Provider = altering(
        lambda record: msgspec.structs.replace(
            record, created_at=record.created_at and record.created_at.replace(hour=1, minute=30)
        )
    )


class TestFlattensMetadata(Liar):
    caught_by = "test_nested_metadata_is_kept"
    Provider = altering(
        lambda record: msgspec.structs.replace(
            record, metadata={name: str(value) for name, value in record.metadata.items()}
        )
    )


class TestFoldsOwners(Liar):
    caught_by = "test_odd_owner_ids_are_kept"
    Provider = altering(
        lambda record: msgspec.structs.replace(
            record, scope=msgspec.structs.replace(record.scope, user=record.scope.user.strip().lower())
        )
    )


class TestMixesOwners(Liar):
    caught_by = "test_owners_stay_apart"
    Provider = altering(
        lambda record: msgspec.structs.replace(
            record, scope=msgspec.structs.replace(record.scope, user="user-0")
        )
    )


class TestWidensScopes(Liar):
    caught_by = "test_no_scope_widens"
    Provider = altering(
        lambda record: (
            msgspec.structs.replace(record, scope=msgspec.structs.replace(record.scope, user=None))
            if record.scope.session
            else record
        )
    )


class TestOverlapsPages(Liar):
    caught_by = "test_walk_is_complete_and_disjoint[some]"

    class Provider(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            if page.next_cursor is None or len(page.rows) < 2:
                return page
            return RawPage(page.rows, str(int(page.next_cursor) - 1))


class TestSkipsRows(Liar):
    caught_by = "test_walk_is_complete_and_disjoint[some]"

    class Provider(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            return RawPage(page.rows, page.next_cursor and str(int(page.next_cursor) + 1))


class TestGoesInCircles(Liar):
    caught_by = "test_walk_is_complete_and_disjoint[one]"

    class Provider(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            return RawPage(page.rows, cursor or page.next_cursor)


class TestKeepsItsPlaceInTheInstance(Liar):
    caught_by = "test_walk_resumes_from_every_saved_cursor"

    class Provider(MemoryReferenceProvider):
        async def _connect(self, role):
            self.places = {}
            return await super()._connect(role)

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, self.places.get(cursor), limit)
            name = page.next_cursor and f"page-{len(self.places)}"
            self.places[name] = page.next_cursor
            return RawPage(page.rows, name)


class TestUsesUpCursors(Liar):
    caught_by = "test_same_page_can_be_read_again"

    class Provider(MemoryReferenceProvider):
        async def _connect(self, role):
            self.at = None
            return await super()._connect(role)

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, self.at, limit)
            self.at = page.next_cursor
            return page


class TestIgnoresTheLimit(Liar):
    caught_by = "test_page_is_not_longer_than_asked"

    class Provider(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            return await super()._read_page(partition, cursor, limit + 1)


class TestStartsOverOnAStrangeCursor(Liar):
    caught_by = "test_unknown_cursor_is_an_error"

    class Provider(MemoryReferenceProvider):
        def _place(self, cursor):
            return int(cursor) if cursor and cursor.isdigit() else 0


class TestLiesAboutTotals(Liar):
    caught_by = "test_totals_are_true"

    class Provider(MemoryReferenceProvider):
        async def count(self):
            return await super().count() + 1


class TestRenamesPartitions(Liar):
    caught_by = "test_partitions_are_stable_and_unique"

    class Provider(MemoryReferenceProvider):
        async def partitions(self):
            yield Partition(name=f"all-{id(self)}-{uuid.uuid4()}")


class TestClaimsToBeInsertSafe(Liar):
    caught_by = "test_inserts_do_not_disturb_a_walk"
    settings: ClassVar[dict] = {"listing": "offset"}
    Provider = declaring(paging={"insert_safe": True})


class TestClaimsToBeDeleteSafe(Liar):
    caught_by = "test_deletes_do_not_disturb_a_walk"
    settings: ClassVar[dict] = {"listing": "offset"}
    Provider = declaring(paging={"delete_safe": True})


class TestGetsSomethingElse(Liar):
    caught_by = "test_get_finds_what_the_listing_shows"

    class Provider(MemoryReferenceProvider):
        async def get(self, record_id):
            return next(iter(self.data.records), None)


class TestLosesAReceipt(Liar):
    caught_by = "test_receipts_tell_what_is_stored"

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            return (await super()._write(batch))[:-1]


class TestSaysStoredAndIsNot(Liar):
    caught_by = "test_receipts_tell_what_is_stored"

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            kept = await super()._write(batch[:-1])
            return [*kept, WriteReceipt(Outcome.CREATED, target_ids=("mem-lie",))]


class TestGivesOneIdToAll(Liar):
    caught_by = "test_receipts_tell_what_is_stored"

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            return [msgspec.structs.replace(r, target_ids=("same",)) for r in await super()._write(batch)]


class TestCannotTakeItsLargestBatch(Liar):
    caught_by = "test_fullest_batch_is_taken"

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            receipts = await super()._write(batch[:20])
            return receipts + [WriteReceipt(Outcome.UNKNOWN)] * (len(batch) - len(receipts))


class TestClaimsToUpsertAndAppends(Liar):
    caught_by = "test_second_write_of_a_key_is_as_declared"
    settings: ClassVar[dict] = {"client_key": ClientKey.APPEND}
    Provider = declaring(writing={"client_key": ClientKey.UPSERT})


class TestClaimsToUpsertAndKeeps(Liar):
    caught_by = "test_changed_record_of_a_key_is_as_declared"
    settings: ClassVar[dict] = {"client_key": ClientKey.DEDUPE}
    Provider = declaring(writing={"client_key": ClientKey.UPSERT})


class TestRejectsWithoutSayingDuplicate(Liar):
    caught_by = "test_second_write_of_a_key_is_as_declared"
    settings: ClassVar[dict] = {"client_key": ClientKey.REJECT}

    class Provider(MemoryReferenceProvider):
        def _refusal(self, message, *, code):
            return super()._refusal(message, code="invalid")


class TestMergesEqualTexts(Liar):
    caught_by = "test_equal_records_of_two_keys_are_both_stored"

    class Provider(MemoryReferenceProvider):
        def _settle(self, document):
            for row in self.data.rows():
                if row.record.content == document.body[0].content:
                    return WriteReceipt(Outcome.PRESENT, target_ids=(row.target_id,))
            return super()._settle(document)


class TestStopsAtABadDocument(Liar):
    caught_by = "test_bad_document_does_not_cost_the_others"
    settings: ClassVar[dict] = {"refuses": frozenset({"bad"})}

    def bad_document(self, document):
        return msgspec.structs.replace(document, record_id="bad")

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            taken = list(itertools.takewhile(lambda document: document.record_id != "bad", batch))
            receipts = await super()._write(taken)
            return receipts + [WriteReceipt(Outcome.REJECTED)] * (len(batch) - len(taken))


class TestFindsWhatIsNotThere(Liar):
    caught_by = "test_lookup_finds_exactly_what_is_there"

    class Provider(MemoryReferenceProvider):
        async def lookup(self, keys):
            return dict.fromkeys(keys, ("mem-00000001",))


class TestDeletesNothing(Liar):
    caught_by = "test_delete_removes_by_target_id"

    class Provider(MemoryReferenceProvider):
        async def delete(self, target_ids):
            return len(target_ids)


class TestAnswersPendingWhenSync(Liar):
    caught_by = "test_acknowledgement_is_as_declared"
    settings: ClassVar[dict] = {"acknowledges": "async"}
    Provider = declaring(writing={"acknowledges": "sync"})


class TestNeverEndsProcessing(Liar):
    caught_by = "test_receipts_tell_what_is_stored"
    settings: ClassVar[dict] = {"acknowledges": "async"}

    class Provider(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            return IngestStatus(IngestState.PROCESSING)


class TestCallsUnknownIngestionsStored(Liar):
    caught_by = "test_unknown_ingestion_is_gone"

    class Provider(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            return IngestStatus(IngestState.STORED)


class TestStoresTwiceAfterABreak(Liar):
    caught_by = "test_run_repeated_after_a_break_stores_once[write]"

    class Provider(MemoryReferenceProvider):
        async def _begin(self, source):
            for row in self.data.rows():
                row.key = None
            self.data._by_key.clear()


class TestWritesWhilePreparing(Liar):
    caught_by = "test_prepare_is_pure"

    class Provider(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            self.data.insert(record, key=key)
            return super()._prepare(record, key, envelope)


class TestUnderstatesSizes(Liar):
    caught_by = "test_size_bounds_the_content"

    class Provider(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            return msgspec.structs.replace(super()._prepare(record, key, envelope), size=1)


class TestSendsWhatIsTooLong(Liar):
    caught_by = "test_content_over_the_limit_is_refused_before_sending"
    Provider = declaring(limits={"content_bytes": 1_000})


class TestCountsCharacters(Liar):
    caught_by = "test_content_over_the_limit_is_refused_before_sending"
    settings: ClassVar[dict] = {"content_bytes": 1_000}

    class Provider(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            short = msgspec.structs.replace(record, content=record.content[:1_000].replace("é", "e"))
            return super()._prepare(short, key, envelope)


class TestSendsOwnerlessRecords(Liar):
    caught_by = "test_missing_owner_is_refused_before_sending"
    Provider = declaring(identity={"required_to_write": (frozenset({Axis.USER}),)})


class TestChangesItsMind(Liar):
    caught_by = "test_capabilities_are_stable"

    class Provider(MemoryReferenceProvider):
        def _capabilities(self):
            self.reads = getattr(self, "reads", 0) + 1
            return super()._capabilities().model_copy(update={"dimensions": {}} if self.reads > 1 else {})


class TestClaimsNoRole(Liar):
    caught_by = "test_capabilities_say_the_same_roles"

    class Provider(MemoryReferenceProvider):
        def _capabilities(self):
            return super()._capabilities().model_copy(update={"writing": None})


class TestIsAnotherStoreEachTime(Liar):
    caught_by = "test_store_identity_is_the_same_every_time"

    class Provider(MemoryReferenceProvider):
        def store(self):
            return StoreIdentity(self.name, str(uuid.uuid4()))


class TestShouts(Liar):
    caught_by = "test_name_is_a_plain_word"

    class Provider(MemoryReferenceProvider):
        name = "My Memory"


class UndescribedConfig(MemoryConfig):
    bare: int = 0


class TestDescribesNothing(Liar):
    caught_by = "test_every_setting_is_described"

    class Provider(MemoryReferenceProvider):
        config_model = UndescribedConfig


class TestSharesItsInstance(Liar):
    caught_by = "test_factory_gives_new_unconnected_providers"

    @pytest.fixture
    def provider_factory(self):
        provider = MemoryReferenceProvider(MemoryConfig(provider="memory", store="liar-shared"))
        yield lambda: provider
        MemoryStore.forget("liar-shared")


class TestCannotCloseTwice(Liar):
    caught_by = "test_close_may_come_at_any_time"

    class Provider(MemoryReferenceProvider):
        async def _connect(self, role):
            self.handle = object()
            return await super()._connect(role)

        async def _aclose(self):
            del self.handle


class TestCannotConnectTwice(Liar):
    caught_by = "test_connect_may_come_twice"

    class Provider(MemoryReferenceProvider):
        async def _connect(self, role):
            assert not hasattr(self, "handle"), "open already"
            self.handle = object()
            return await super()._connect(role)


class TestCannotFinishTwice(Liar):
    caught_by = "test_begin_and_finish_may_come_twice"

    class Provider(MemoryReferenceProvider):
        async def _finish(self):
            assert not self.data.finished, "finished already"
            await super()._finish()


class TestWorksUnconnected(Liar):
    caught_by = "test_use_before_connect_and_after_close_is_an_error"

    class Provider(MemoryReferenceProvider):
        def _check_ready(self, role):
            pass


class TestLogsMemories(Liar):
    caught_by = "test_nothing_private_is_logged_or_shown"

    class Provider(MemoryReferenceProvider):
        async def _write(self, batch):
            logger.info("writing %s", [document.body[0].content for document in batch])
            return await super()._write(batch)


class SecretConfig(MemoryConfig):
    api_key: SecretStr = SecretStr("sk-liar-4170")


class TestShowsItsKey(Liar):
    caught_by = "test_nothing_private_is_logged_or_shown"

    class Provider(MemoryReferenceProvider):
        def __repr__(self):
            return f"<provider with {self.config.api_key.get_secret_value()}>"

    @pytest.fixture
    def provider_factory(self):
        config = SecretConfig(provider="memory", store="liar-secret")
        yield lambda: self.Provider(config)
        MemoryStore.forget("liar-secret")


class TestQuotesMemoriesInErrors(Liar):
    caught_by = "test_nothing_private_is_logged_or_shown"
    settings: ClassVar[dict] = {"refuses": frozenset({"bad"})}

    def bad_document(self, document: Document):
        return msgspec.structs.replace(document, record_id="bad")

    class Provider(MemoryReferenceProvider):
        def _settle(self, document):
            receipt = super()._settle(document)
            if receipt.error is None:
                return receipt
            error = self._refusal(f"cannot store {document.body[0].content}", code="refused")
            return msgspec.structs.replace(receipt, error=error)


class TestLosesScores(Liar):
    caught_by = "test_probe_downgrades_nothing"
    Provider = altering(lambda record: msgspec.structs.replace(record, importance=None, confidence=None))


class TestDropsTheEnvelope(Liar):
    caught_by = "test_envelope_is_kept"

    class Provider(declaring(dimensions={Dimension.PINNING: Channel(write=Level.ENVELOPE)})):
        def _prepare(self, record, key, envelope):
            return super()._prepare(record, key, {})


class TestCannotListAnEmptyStore(Liar):
    caught_by = "test_empty_store_gives_no_records"

    class Provider(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            assert len(self.data), "nothing there"
            return await super()._read_page(partition, cursor, limit)


class TestReplacesATest(Liar):
    caught_by = "test_standard_tests_are_not_replaced"

    def test_totals_are_true(self):
        """Nothing to see here."""


class TestSilencesATest(Liar):
    caught_by = "test_standard_tests_are_not_replaced"
    test_totals_are_true = None


class TestExpectsToFailWithoutAReason(Liar):
    caught_by = "test_standard_tests_are_not_replaced"

    @pytest.mark.xfail
    def test_totals_are_true(self):
        raise AssertionError
