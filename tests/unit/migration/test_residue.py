"""`--residue` from the outside: between target, envelope and residue nothing of a record is lost."""

import json
import shutil
import stat
import tempfile
from datetime import UTC
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memxfer import migration
from memxfer.archive import ArchiveReader
from memxfer.capabilities import Channel, Dimension, Level
from memxfer.errors import AuthError, DecisionRequiredError, LedgerError
from memxfer.migration import JobStatus, Options
from memxfer.models import (
    Attachment,
    Embedding,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Scope,
    Validity,
    Version,
)
from memxfer_archive import ArchiveProvider
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_memory.mapping import DROPPABLE, strip

pytestmark = pytest.mark.anyio

ALL = Options(accept_loss=("all",))


def originals(state, job="move"):
    root = Path(state) / "jobs" / job / "residue"
    if not root.exists():
        return {}
    items = list(ArchiveReader(root).records())
    assert len({item.key for item in items}) == len(items)
    return {item.record.id: item.record for item in items}


# -- the whole promise, over records and targets of any kind ------------------------------------

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
TIME = st.datetimes(timezones=st.just(UTC))
FIELDS = {
    "content": WORD,
    "messages": st.tuples(st.builds(Message, role=WORD, content=WORD)),
    "kind": st.sampled_from(["preference", "event"]),
    "scope": st.builds(
        Scope, user=WORD, agent=WORD, session=WORD, extra=st.dictionaries(WORD, WORD, max_size=1)
    ),
    "metadata": st.dictionaries(WORD, st.integers(0, 9) | WORD, min_size=1, max_size=2),
    "tags": st.tuples(WORD),
    "created_at": TIME,
    "updated_at": TIME,
    "occurred_at": TIME,
    "expires_at": TIME,
    "validity": st.builds(Validity, valid_from=TIME),
    "state": st.sampled_from([RecordState.ARCHIVED, RecordState.SUPERSEDED]),
    "superseded_by": WORD,
    "pinned": st.just(True),
    "versions": st.tuples(st.builds(Version, content=WORD, at=TIME)),
    "relations": st.tuples(st.builds(Relation, subject=WORD, predicate=WORD, object=WORD)),
    "embedding": st.just(Embedding(vector=(0.5, 1.0), model="m")),
    "importance": st.floats(0, 1),
    "confidence": st.floats(0, 1),
    "provenance": st.dictionaries(WORD, WORD, min_size=1, max_size=1),
    "attachments": st.tuples(st.builds(Attachment, name=WORD)),
    "visibility": WORD,
    "derived_from": st.tuples(WORD),
    "extensions": st.dictionaries(WORD, st.dictionaries(WORD, WORD, max_size=1), min_size=1, max_size=1),
}
DRAWN = st.fixed_dictionaries({}, optional=FIELDS)
LEVELS = st.dictionaries(
    st.sampled_from(sorted(DROPPABLE - {Dimension.IDS})),
    st.sampled_from([Level.NONE, Level.ENVELOPE, Level.LOSSY]),
    max_size=8,
)


def test_every_field_of_a_record_is_drawn():
    assert {"id", "sanitised", *FIELDS} == set(MemoryRecord.__struct_fields__)


class Limited(MemoryReferenceProvider):
    """Keeps nothing natively of the dimensions it declares to be less than native."""

    levels: ClassVar[dict] = {}

    def _channel(self, dimension):
        return Channel(read=Level.NATIVE, write=self.levels.get(dimension, Level.NATIVE))

    def _prepare(self, record, key, envelope):
        kept = strip(record, self.levels, "")
        if Dimension.EXTENSIONS in self.levels:
            kept = msgspec.structs.replace(kept, scope=msgspec.structs.replace(kept.scope, extra={}))
        return super()._prepare(kept, key, envelope)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(DRAWN, min_size=1, max_size=4), LEVELS)
async def test_every_field_is_in_the_target_or_kept_and_what_is_whole_is_not_kept_twice(drawn, levels):
    records = [
        MemoryRecord(**{"id": f"r{number}", "content": "text", **fields})
        for number, fields in enumerate(drawn)
    ]
    source, target = MemoryStore.named("any-source"), MemoryStore.named("any-target")
    source.seed(records)
    kind = type("Drawn", (Limited,), {"levels": levels})
    state = tempfile.mkdtemp()
    try:
        result = await migration.migrate(
            MemoryReferenceProvider(MemoryConfig(provider="memory", store="any-source")),
            kind(MemoryConfig(provider="memory", store="any-target", widening="allow")),
            state_dir=state,
            job="move",
            options=ALL,
        )
        kept = originals(state)
    finally:
        shutil.rmtree(state)
        MemoryStore.forget("any-source")
        MemoryStore.forget("any-target")

    stored = {row.record.id: row for row in target.rows()}
    assert result.status is JobStatus.COMPLETED
    assert result.residue == len(kept)
    for record in records:
        row = stored[record.id]
        assert kept.get(record.id, row.record) == record
        is_whole = row.record == record and not row.envelope
        assert is_whole == (record.id not in kept)


# -- moving it on -------------------------------------------------------------------------------


@pytest.fixture
def mixed(ends):
    """Ten records; every second has tags, which the target will drop."""
    ends.seed(10)
    ends.seed(10, start=10, tags=("kept",), importance=0.5)
    return ends


async def move(ends, state, *, residue="lossy", job="move", **target):
    return await migration.migrate(
        ends.read(),
        ends.write(drops={"tags"}, **target),
        state_dir=state,
        job=job,
        options=Options(accept_loss=("all",), residue=residue),
    )


def residue_source(state):
    path = state / "jobs" / "move" / "residue"
    return ArchiveProvider(ArchiveProvider.config_model(provider="archive", path=path))


@pytest.mark.parametrize(("residue", "count"), [("lossy", 10), ("full", 20)])
async def test_a_residue_moves_on_to_a_richer_target_without_the_loss(mixed, state, residue, count):
    await move(mixed, state, residue=residue)
    direct = {row.key: row.record for row in mixed.target.rows()}
    richer = MemoryReferenceProvider(MemoryConfig(provider="memory", store=f"{mixed.target.name}-richer"))

    result = await migration.migrate(residue_source(state), richer, state_dir=state, job="on")

    wanted = [record for record in mixed.source.records if residue == "full" or record.tags]
    assert result.status is JobStatus.COMPLETED
    assert result.residue == 0
    assert sorted(richer.data.records, key=lambda one: one.id) == sorted(wanted, key=lambda one: one.id)
    assert len(wanted) == count
    assert set(richer.data.keys) <= set(direct), "the keys are those of a direct move"
    assert not (state / "jobs" / "on" / "residue").exists()
    MemoryStore.forget(richer.data.name)


async def test_a_move_between_archives_keeps_no_originals(mixed, state, tmp_path):
    first = ArchiveProvider(ArchiveProvider.config_model(provider="archive", path=tmp_path / "first"))
    again = ArchiveProvider(ArchiveProvider.config_model(provider="archive", path=tmp_path / "first"))
    second = ArchiveProvider(ArchiveProvider.config_model(provider="archive", path=tmp_path / "second"))
    await migration.migrate(mixed.read(), first, state_dir=state, job="one")

    result = await migration.migrate(again, second, state_dir=state, job="two")

    assert (result.status, result.residue) == (JobStatus.COMPLETED, 0)
    assert list(state.rglob("residue")) == []
    assert ArchiveReader(tmp_path / "second").count() == 20


# -- what is agreed -----------------------------------------------------------------------------


async def test_off_keeps_nothing(mixed, state):
    result = await move(mixed, state, residue="off")

    assert (result.status, result.residue) == (JobStatus.COMPLETED, 0)
    assert list(state.rglob("residue")) == []


async def test_a_resumed_job_keeps_what_was_agreed_when_it_began(mixed, state):
    await migration.migrate(
        mixed.read(),
        mixed.write(drops={"tags"}),
        state_dir=state,
        job="move",
        options=Options(accept_loss=("all",), residue="full", sample=3),
    )

    result = await migration.resume(
        "move",
        state_dir=state,
        source=mixed.read(),
        target=mixed.write(drops={"tags"}),
        everything=True,
        options=Options(residue="off"),
    )

    assert result.residue == 20
    assert originals(state) == {record.id: record for record in mixed.source.records}


async def test_off_needs_consent_for_what_is_only_approximated(ends, state):
    ends.seed(3, tags=("one",))

    class Rough(MemoryReferenceProvider):
        def _channel(self, dimension):
            rough = dimension is Dimension.TAGS
            return Channel(read=Level.NATIVE, write=Level.LOSSY if rough else Level.NATIVE)

    with pytest.raises(DecisionRequiredError, match="tags"):
        await migration.migrate(
            ends.read(), ends.write(kind=Rough), state_dir=state, options=Options(residue="off")
        )
    kept = await migration.migrate(ends.read(), ends.write(kind=Rough), state_dir=state, job="move")

    assert kept.residue == 3


# -- how it is told and guarded -----------------------------------------------------------------


async def test_the_result_and_the_status_tell_how_many_and_where(mixed, state):
    result = await move(mixed, state)
    now = migration.status("move", state_dir=state)

    assert result.residue == now.residue == 10
    assert result.residue_path == now.residue_path == str(state / "jobs" / "move" / "residue")
    assert json.loads(result.model_dump_json())["residue"] == 10
    assert "residue_path" not in json.loads(result.model_dump_json())


async def test_a_job_at_its_end_has_a_complete_residue_and_one_that_paused_an_open_one(mixed, state):
    refused = mixed.write(drops={"tags"})

    async def no_key(batch):
        raise AuthError("the key is refused")

    refused.write = no_key
    paused = await migration.migrate(
        mixed.read(), refused, state_dir=state, job="move", options=Options(accept_loss=("all",))
    )
    root = state / "jobs" / "move" / "residue"
    assert paused.status is JobStatus.PAUSED
    assert not ArchiveReader(root).is_complete
    assert "Resume the job" in ArchiveReader(root).warnings[0]

    await migration.resume("move", state_dir=state, source=mixed.read(), target=mixed.write(drops={"tags"}))

    assert ArchiveReader(root).is_complete
    assert len(originals(state)) == 10


async def test_a_residue_that_cannot_be_completed_is_no_success(mixed, state, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memxfer.archive.writer.ArchiveWriter.finish", full)
    result = await move(mixed, state)

    assert result.status is JobStatus.FAILED
    assert "No space left on device" in result.message
    assert result.cause == "ledger"

    monkeypatch.undo()
    ended = await migration.resume(
        "move", state_dir=state, source=mixed.read(), target=mixed.write(drops={"tags"})
    )
    assert (ended.status, ended.residue) == (JobStatus.COMPLETED, 10)
    assert ArchiveReader(state / "jobs" / "move" / "residue").is_complete


async def test_a_job_does_not_go_on_without_the_residue_it_had(mixed, state):
    await move(mixed, state)
    shutil.rmtree(state / "jobs" / "move" / "residue")

    with pytest.raises(LedgerError, match="holds 0 of the 10 lines"):
        await migration.resume(
            "move", state_dir=state, source=mixed.read(), target=mixed.write(drops={"tags"})
        )


async def test_the_residue_is_its_owners_alone(mixed, state):
    await move(mixed, state)

    root = state / "jobs" / "move" / "residue"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert {path.name for path, mode in modes.items() if mode not in (0o600, 0o700)} == set()


async def test_the_rest_of_the_job_holds_no_text_of_a_memory(mixed, state):
    await move(mixed, state)

    folder = state / "jobs" / "move"
    others = [path for path in folder.iterdir() if path.is_file()]
    assert others
    assert [path.name for path in others if b"text 1" in path.read_bytes()] == []


# -- keeping it ---------------------------------------------------------------------------------


async def test_a_job_travels_with_its_residue(mixed, state, tmp_path):
    await move(mixed, state)
    migration.export_job("move", tmp_path / "move.tar.gz", state_dir=state)

    elsewhere = tmp_path / "elsewhere"
    migration.import_job(tmp_path / "move.tar.gz", state_dir=elsewhere)
    result = await migration.resume(
        "move", state_dir=elsewhere, source=mixed.read(), target=mixed.write(drops={"tags"})
    )

    assert (result.status, result.residue) == (JobStatus.COMPLETED, 10)
    assert originals(elsewhere) == originals(state)
    assert {path.name for path in (elsewhere / "jobs" / "move").iterdir()} >= {"residue", "ledger.sqlite"}
    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in (elsewhere / "jobs" / "move" / "residue").rglob("*")
    }
    assert modes == {0o600, 0o700}


async def test_a_paused_job_travels_and_goes_on(mixed, state, tmp_path):
    options = Options(accept_loss=("all",), sample=12)
    await migration.migrate(
        mixed.read(), mixed.write(drops={"tags"}), state_dir=state, job="move", options=options
    )
    migration.export_job("move", tmp_path / "move.tar.gz", state_dir=state)
    elsewhere = tmp_path / "elsewhere"
    migration.import_job(tmp_path / "move.tar.gz", state_dir=elsewhere)

    result = await migration.resume(
        "move",
        state_dir=elsewhere,
        source=mixed.read(),
        target=mixed.write(drops={"tags"}),
        everything=True,
    )

    assert result.residue == 10
    assert set(originals(elsewhere)) == {f"r{number}" for number in range(10, 20)}


async def test_a_job_with_originals_is_not_removed_in_passing(mixed, state):
    await move(mixed, state)

    with pytest.raises(DecisionRequiredError, match="the only copy") as raised:
        migration.remove_job("move", state_dir=state)
    assert any("memxfer migrate archive:" in remedy for remedy in raised.value.remedies)
    assert len(originals(state)) == 10

    migration.remove_job("move", state_dir=state, with_residue=True)
    assert migration.list_jobs(state) == []


async def test_a_job_without_originals_is_removed_as_before(ends, state):
    ends.seed(2)
    await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")

    migration.remove_job("move", state_dir=state)

    assert migration.list_jobs(state) == []
