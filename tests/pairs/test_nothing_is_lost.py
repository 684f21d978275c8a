"""Whatever a target can or cannot hold: every field is in it, in the envelope, or in the residue."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memxfer import migration
from memxfer.archive import ArchiveReader
from memxfer.gaps import RULES
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
    sanitise_record,
)
from memxfer.spi import Capabilities, Channel, Dimension, Document, Level, Prepared
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_memory.mapping import DROPPABLE, strip

EXAMPLES = int(os.environ.get("MEMXFER_EXAMPLES", "10000"))
"""Moves of the long form."""

_LEVELLED = sorted(DROPPABLE | {Dimension.CONTENT})


class LevelledProvider(MemoryReferenceProvider):
    """Keeps what it declares native, and nothing of what it declares less: the worst that the word allows."""

    levels: Mapping[Dimension, Level] = {}

    def _capabilities(self) -> Capabilities:
        made = super()._capabilities()
        changed = {one: Channel(read=Level.NATIVE, write=level) for one, level in self.levels.items()}
        return made.model_copy(update={"dimensions": {**made.dimensions, **changed}})

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        prepared = super()._prepare(record, key, envelope)
        assert isinstance(prepared, Document)
        lost = {one for one, level in self.levels.items() if level is not Level.NATIVE}
        kept = strip(record, lost & DROPPABLE, f"new-{record.id}")
        if Dimension.CONTENT in lost:
            kept = msgspec.structs.replace(kept, content="")
        return msgspec.structs.replace(prepared, body=(kept, dict(envelope)))


texts = st.text(max_size=12)
names = st.text("abc", min_size=1, max_size=3)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
loose = st.dictionaries(names, st.none() | st.booleans() | st.integers() | st.floats() | texts, max_size=2)
maybe = st.none() | st.text("abc", max_size=2)
records = st.builds(
    MemoryRecord,
    id=st.uuids().map(str),
    content=texts,
    messages=st.lists(st.builds(Message, role=names, content=texts), max_size=1).map(tuple),
    kind=st.sampled_from(["fact", "preference", "dream"]),
    scope=st.builds(Scope, user=maybe, agent=maybe, app=maybe, session=maybe, tenant=maybe, group=maybe),
    metadata=loose,
    tags=st.lists(names, max_size=2).map(tuple),
    created_at=st.none() | moments,
    updated_at=st.none() | moments,
    occurred_at=st.none() | moments,
    expires_at=st.none() | moments,
    validity=st.none() | st.builds(Validity, valid_from=st.none() | moments, valid_to=st.none() | moments),
    state=st.sampled_from(RecordState),
    superseded_by=maybe,
    pinned=st.booleans(),
    versions=st.lists(st.builds(Version, content=texts, at=st.none() | moments), max_size=2).map(tuple),
    relations=st.lists(st.builds(Relation, subject=names, predicate=names, object=names), max_size=1).map(
        tuple
    ),
    embedding=st.none() | st.builds(Embedding, vector=st.just((0.5, 0.25)), model=maybe),
    importance=st.none() | st.floats(0, 1),
    confidence=st.none() | st.floats(0, 1),
    provenance=loose,
    attachments=st.lists(st.builds(Attachment, name=names), max_size=1).map(tuple),
    visibility=maybe,
    derived_from=st.lists(names, max_size=1).map(tuple),
    extensions=st.dictionaries(names, loose, max_size=1),
)
levels = st.fixed_dictionaries(
    {}, optional={one: st.sampled_from(Level) for one in _LEVELLED if one is not Dimension.USER}
)


async def move(source: list[MemoryRecord], chosen: Mapping[Dimension, Level], folder: Path) -> Path:
    """Move records into a store of these levels; return the folder of the residue."""
    MemoryStore.named("from").seed(source)
    target = LevelledProvider(MemoryConfig(provider="memory", store="into", widening="allow"))
    target.levels = chosen
    result = await migration.migrate(
        MemoryReferenceProvider(MemoryConfig(provider="memory", store="from", allow_empty=True)),
        target,
        state_dir=folder,
        job="j",
        options=migration.Options(accept_loss=("all",)),
    )
    assert result.counts.stored == len(source)
    return folder / "jobs" / "j" / "residue"


def check(source: list[MemoryRecord], residue: Path) -> None:
    """Compare what was moved with what the target, the envelopes and the residue hold together."""
    kept = (
        {line.record.id: line.record for line in ArchiveReader(residue).records()} if residue.exists() else {}
    )
    stored = {row.key.rpartition(":")[2]: row for row in MemoryStore.named("into").rows()}
    for before in source:
        row = stored[before.id]
        after, envelope = row.record, row.envelope
        if after == before:
            assert before.id not in kept, "kept as it is, and in the residue all the same"
            continue
        if before.id in kept:
            assert kept[before.id] == before, "the residue changes what it keeps"
            continue
        for rule in RULES:
            value = rule.carried(before)
            in_target, in_envelope = rule.carried(after) == value, envelope.get(rule.name) == value
            assert value is None or in_target or in_envelope, f"{rule.dimension} is nowhere"


def run(source: list[MemoryRecord], chosen: Mapping[Dimension, Level]) -> None:
    """One example."""
    clean = list({one.id: sanitise_record(one) for one in source}.values())
    with tempfile.TemporaryDirectory() as folder:
        try:
            residue = asyncio.run(move(clean, chosen, Path(folder)))
            check(clean, residue)
        finally:
            MemoryStore.forget("from")
            MemoryStore.forget("into")


_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "derandomize": True}


@settings(max_examples=60, **_patient)
@given(st.lists(records, max_size=4), levels)
def test_every_field_is_in_the_target_the_envelope_or_the_residue(source, chosen):
    run(source, chosen)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, **_patient)
@given(st.lists(records, max_size=4), levels)
def test_every_field_is_somewhere_in_ten_thousand_moves(source, chosen):
    run(source, chosen)


def test_a_move_where_all_is_native_leaves_no_residue(tmp_path):
    source = [MemoryRecord(id="a", content="x", tags=("t",), versions=(Version(content="w"),))]
    try:
        assert not asyncio.run(move(source, {}, tmp_path)).exists()
    finally:
        MemoryStore.forget("from")
        MemoryStore.forget("into")
