"""Probes of the reference backend, which can play every policy, honestly and not."""

import msgspec
import pytest

from memxfer import migration
from memxfer.capabilities import Axis, Channel, ClientKey, Dimension, DocumentChange, Level
from memxfer.errors import ConfigError, DecisionRequiredError, UnsupportedOperationError
from memxfer.migration import ClaimVerdict
from memxfer.migration.probing.reading import MOST_ROWS
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Outcome, WriteReceipt
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


# -- honest backends --------------------------------------------------------------------------


@pytest.mark.parametrize("acknowledges", ["sync", "async"])
@pytest.mark.parametrize("policy", [key for key in ClientKey if key is not ClientKey.UNKNOWN])
async def test_an_honest_backend_is_confirmed_and_left_as_it_was(
    bench, policy, acknowledges, lowered, claim_of
):
    report = await bench.probe(bench.provider(client_key=policy, acknowledges=acknowledges))
    assert lowered(report) == {}
    assert claim_of(report, "writing.client_key").found == policy
    assert claim_of(report, "writing.acknowledges").found == acknowledges
    assert bench.is_as_before
    assert (report.status, report.leftovers, report.documents) == ("completed", (), 5)
    assert bench.told.warnings == []


async def test_an_unknown_policy_becomes_what_was_seen(bench, claim_of):
    report = await bench.probe(bench.provider(client_key="unknown"))  # which it then plays as dedupe
    claim = claim_of(report, "writing.client_key")
    assert (claim.declared, claim.found, claim.verdict) == ("unknown", "dedupe", ClaimVerdict.CONFIRMED)


async def test_an_unknown_policy_that_appends_is_a_downgrade(bench, claim_of):
    class Secretive(MemoryReferenceProvider):
        def _capabilities(self):
            known = super()._capabilities()
            writing = known.writing.model_copy(update={"client_key": ClientKey.UNKNOWN})
            return known.model_copy(update={"writing": writing})

    report = await bench.probe(bench.provider(Secretive, client_key="append"))
    claim = claim_of(report, "writing.client_key")
    assert (claim.found, claim.verdict) == ("append", ClaimVerdict.DOWNGRADED)


async def test_a_declaration_that_is_more_careful_than_what_was_seen_stands(bench, claim_of):
    class Careful(MemoryReferenceProvider):
        def _capabilities(self):
            known = super()._capabilities()
            writing = known.writing.model_copy(update={"client_key": ClientKey.APPEND})
            return known.model_copy(update={"writing": writing})

    claim = claim_of(await bench.probe(bench.provider(Careful)), "writing.client_key")
    assert (claim.declared, claim.found, claim.verdict) == ("append", "upsert", ClaimVerdict.CONFIRMED)
    assert "stands" in claim.note


async def test_dimensions_that_are_declared_lost_are_no_claims(bench):
    report = await bench.probe(bench.provider(drops=["tags", "versions"]))
    paths = {claim.path for claim in report.claims}
    assert "dimensions.kind.write" in paths
    assert not {"dimensions.tags.write", "dimensions.versions.write"} & paths


async def test_what_cannot_be_tried_says_why(bench):
    report = await bench.probe()
    untested = {c.path: c.note for c in report.claims if c.verdict is ClaimVerdict.NOT_TESTABLE}
    assert set(untested) == {
        "writing.max_batch",
        "dimensions.sanitised.write",
        "dimensions.embeddings.write",
    }
    assert all(untested.values())


# -- what is written --------------------------------------------------------------------------


class Watching(MemoryReferenceProvider):
    """Remembers what reaches it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []

    async def _write(self, batch):
        self.seen.append(batch)
        return await super()._write(batch)


async def test_everything_written_is_tagged_and_alone_in_its_batch(bench):
    provider = bench.provider(Watching)
    report = await bench.probe(provider)
    records = [document.body[0] for batch in provider.seen for document in batch]
    assert [len(batch) for batch in provider.seen] == [1] * len(records)
    assert report.owner.startswith("memxfer-probe-")
    for record in records:
        assert "memxfer" in record.content
        assert "probe" in record.content
        assert "safe to delete" in record.content
        assert record.scope.user == report.owner
        assert "memxfer_probe" in record.metadata
        named = [value for axis in Axis if (value := getattr(record.scope, axis)) is not None]
        assert all(value.startswith(report.owner) for value in named)
    keys = {document.key for batch in provider.seen for document in batch}
    assert len(keys) == 3
    assert all("memxfer:probe-" in key for key in keys)


async def test_no_two_probes_meet(bench):
    first, second = bench.provider(Watching), bench.provider(Watching)
    reports = [await bench.probe(first), await bench.probe(second)]
    keys = [{d.key for batch in one.seen for d in batch} for one in (first, second)]
    assert not keys[0] & keys[1]
    assert reports[0].owner != reports[1].owner


async def test_no_more_is_written_than_was_said(bench):
    report = await bench.probe()
    assert report.documents <= migration.probe_size(bench.provider()).documents


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("legacy_{provider}_{id}", "legacy_memxfer_"),
        ("{conversation}:{index}", "mx:memxfer:"),
        ("{user}", "mx:"),
    ],
)
async def test_keys_are_made_as_the_connection_makes_them_where_that_tells_them_apart(
    bench, template, expected
):
    provider = bench.provider(Watching, document_id=template)
    await bench.probe(provider)
    assert all(d.key.startswith(expected) for batch in provider.seen for d in batch)


async def test_axes_that_a_record_must_name_are_named(bench, lowered):
    axes = frozenset({Axis.TENANT, Axis.USER})
    provider = bench.provider(Watching, required_axes=axes)
    assert lowered(await bench.probe(provider)) == {}
    assert all(d.body[0].scope.tenant.startswith("memxfer-probe-") for batch in provider.seen for d in batch)


async def test_a_target_that_takes_no_record_without_a_decision_names_it(bench):
    class Undecided(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            return self._unscoped(["user"])

    with pytest.raises(DecisionRequiredError, match="unscoped") as raised:
        await bench.probe(bench.provider(Undecided))
    assert raised.value.remedies == ('unscoped = "skip"',)
    assert bench.is_as_before


async def test_a_target_that_takes_no_record_at_all_is_an_error(bench):
    with pytest.raises(ConfigError, match="cannot be written here"):
        await bench.probe(bench.provider(content_bytes=3))


async def test_a_source_alone_is_not_probed(bench):
    class SourceOnly(MemoryReferenceProvider):
        @classmethod
        def is_target(cls):
            return False

    with pytest.raises(UnsupportedOperationError, match="source only"):
        await bench.probe(bench.provider(SourceOnly))
    with pytest.raises(UnsupportedOperationError):
        migration.probe_size(bench.provider(SourceOnly))


# -- what can be seen -------------------------------------------------------------------------


class TargetOnly(MemoryReferenceProvider):
    @classmethod
    def is_source(cls):
        return False


async def test_a_target_alone_is_told_by_receipts_look_up_and_deletion(bench, claim_of):
    report = await bench.probe(bench.provider(TargetOnly, client_key="append"))
    assert (report.documents, claim_of(report, "writing.client_key").found) == (3, "append")
    assert claim_of(report, "operations.lookup").verdict is ClaimVerdict.CONFIRMED
    assert claim_of(report, "operations.delete").verdict is ClaimVerdict.CONFIRMED
    content = claim_of(report, "dimensions.content.write")
    assert (content.verdict, content.found) == (ClaimVerdict.NOT_TESTABLE, None)
    assert "target alone" in content.note
    assert bench.is_as_before


async def test_a_policy_shows_in_what_there_is_to_delete_where_nothing_else_can_be_asked(bench, claim_of):
    for policy in ("append", "upsert"):
        provider = bench.faulty(hidden=("lookup", "get"), kind=TargetOnly, client_key=policy)
        report = await bench.probe(provider)
        assert claim_of(report, "writing.client_key").found == policy
        assert bench.is_as_before


async def test_a_large_store_is_asked_by_id_and_not_listed(bench, lowered, claim_of):
    bench.store.seed(MemoryRecord(id=f"r{n}", content="x") for n in range(MOST_ROWS + 1))
    provider = bench.faulty()
    report = await bench.probe(provider)
    assert lowered(report) == {}
    assert claim_of(report, "dimensions.tags.write").verdict is ClaimVerdict.CONFIRMED
    assert provider.script.calls("read_page") == 0
    assert len(bench.store) == MOST_ROWS + 2


async def test_a_large_store_that_knows_no_ids_is_not_searched(bench, claim_of):
    bench.store.seed(MemoryRecord(id=f"r{n}", content="x") for n in range(MOST_ROWS + 2000))
    provider = bench.faulty(hidden=("get", "count"), max_page=1000)
    report = await bench.probe(provider)
    assert "not among the first" in claim_of(report, "dimensions.tags.write").note
    assert provider.script.calls("read_page") <= 2 * (MOST_ROWS // 1000 + 2)
    assert len(bench.store) == MOST_ROWS + 2001


async def test_records_that_the_connection_does_not_list_are_no_losses(bench, lowered, claim_of):
    class Filtering(MemoryReferenceProvider):
        def _decode(self, row, partition):
            return row.record if row.record.scope.user == "ann" else None

        async def get(self, record_id):
            return None

    report = await bench.probe(bench.provider(Filtering))
    assert lowered(report) == {}
    assert "not among what this connection lists" in claim_of(report, "dimensions.tags.write").note
    assert bench.is_as_before


async def test_a_dimension_that_the_target_refuses_says_so(bench, claim_of):
    class Picky(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            if record.versions:
                raise self._refusal("no versions here", code="versions")
            return super()._prepare(record, key, envelope)

    report = await bench.probe(bench.provider(Picky))
    assert "no versions here" in claim_of(report, "dimensions.versions.write").note
    assert claim_of(report, "dimensions.kind.write").verdict is ClaimVerdict.CONFIRMED


async def test_a_loss_that_reading_may_have_caused_is_none(bench, claim_of):
    class CannotShow(MemoryReferenceProvider):
        def _capabilities(self):
            known = super()._capabilities()
            dimensions = {**known.dimensions, Dimension.TAGS: Channel(write=Level.NATIVE)}
            return known.model_copy(update={"dimensions": dimensions})

        def _decode(self, row, partition):
            return msgspec.structs.replace(row.record, tags=())

    claim = claim_of(await bench.probe(bench.provider(CannotShow)), "dimensions.tags.write")
    assert (claim.verdict, claim.found) == (ClaimVerdict.NOT_TESTABLE, None)


async def test_a_change_that_the_target_announces_is_no_broken_promise(bench, claim_of, lowered):
    class Announcing(MemoryReferenceProvider):
        def _capabilities(self):
            change = DocumentChange(dimension=Dimension.TAGS, text="lose a tag")
            return super()._capabilities().model_copy(update={"changes": {"tag_dropped": change}})

        def _prepare(self, record, key, envelope):
            if not record.tags:
                return super()._prepare(record, key, envelope)
            less = msgspec.structs.replace(record, tags=record.tags[:1])
            fields = {**_fields(super()._prepare(less, key, envelope)), "changes": ("tag_dropped",)}
            return Document(**fields)

    report = await bench.probe(bench.provider(Announcing))
    assert lowered(report) == {}
    assert "tag_dropped" in claim_of(report, "dimensions.tags.write").note


class Swallowing(MemoryReferenceProvider):
    """Says that it stored records with versions, and does not."""

    def _settle(self, document):
        if document.body[0].versions:
            return WriteReceipt(Outcome.CREATED, target_ids=(self.data.issue("mem"),))
        return super()._settle(document)


async def test_a_record_that_is_said_to_be_stored_and_is_not_there_is_a_loss(bench, lowered):
    report = await bench.probe(bench.provider(Swallowing))
    assert lowered(report)["dimensions.versions.write"] == "none"
    assert lowered(report)["operations.lookup"] == "no"
    assert "dimensions.messages.write" not in lowered(report)
    assert bench.is_as_before


async def test_a_record_that_was_not_found_without_a_listing_is_no_loss(bench, claim_of, lowered):
    bench.store.seed(MemoryRecord(id=f"r{n}", content="x") for n in range(MOST_ROWS + 1))
    report = await bench.probe(bench.provider(Swallowing))
    assert "dimensions.versions.write" not in lowered(report)
    assert "could not be found again" in claim_of(report, "dimensions.versions.write").note


async def test_what_travels_in_the_envelope_is_confirmed_only_where_it_is_seen(bench, claim_of):
    class Enveloping(MemoryReferenceProvider):
        shows = True

        def _capabilities(self):
            known = super()._capabilities()
            dimensions = {**known.dimensions, Dimension.PINNING: Channel(write=Level.ENVELOPE)}
            return known.model_copy(update={"dimensions": dimensions})

        def _settle(self, document):
            record, envelope = document.body
            extensions = {**record.extensions, "memxfer": {"envelope": envelope}} if self.shows else {}
            fields = {name: getattr(record, name) for name in record.__struct_fields__}
            kept = MemoryRecord(**{**fields, "pinned": False, "extensions": extensions})
            return super()._settle(type(document)(**{**_fields(document), "body": (kept, envelope)}))

    shown, hidden = bench.provider(Enveloping), bench.provider(Enveloping)
    hidden.shows = False
    path = "dimensions.pinning.write"
    assert claim_of(await bench.probe(shown), path).verdict is ClaimVerdict.CONFIRMED
    assert claim_of(await bench.probe(hidden), path).verdict is ClaimVerdict.NOT_TESTABLE


def _fields(document):
    names = getattr(document, "__struct_fields__", None) or document.__dataclass_fields__
    return {name: getattr(document, name) for name in names}
