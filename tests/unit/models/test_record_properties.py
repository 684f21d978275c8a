"""Properties of whole records: every field counts, every text may hold anything."""

import gc
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    content_hash,
    decode_record,
    encode_record,
    format_time,
    parse_time,
    sanitise_record,
)

AT = datetime(2026, 1, 2, tzinfo=UTC)
BARE = MemoryRecord(id="r", content="t")
OTHER = {
    "id": "r2",
    "content": "t2",
    "messages": (Message(role="user", content="hi"),),
    "kind": "event",
    "scope": Scope(user="u"),
    "metadata": {"a": 1},
    "tags": ("x",),
    "created_at": AT,
    "updated_at": AT,
    "occurred_at": AT,
    "expires_at": AT,
    "validity": Validity(valid_from=AT),
    "state": RecordState.ARCHIVED,
    "superseded_by": "r3",
    "pinned": True,
    "versions": (Version(content="before"),),
    "relations": (Relation(subject="a", predicate="is", object="b"),),
    "embedding": Embedding(vector=(1.0,)),
    "importance": 0.0,
    "confidence": 0.0,
    "provenance": {"index": 0},
    "attachments": (Attachment(name="f"),),
    "visibility": "private",
    "derived_from": ("r0",),
    "extensions": {"p": {}},
    "sanitised": ("metadata.a",),
}
ANY = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=()), st.sampled_from("\ud800\udfff\0")), max_size=5
)


def test_a_record_is_no_work_for_the_garbage_collector():
    record = MemoryRecord(
        id="a", content="x", metadata={"nested": {"list": [[]]}}, versions=(Version(metadata={"x": []}),)
    )
    assert not any(map(gc.is_tracked, (record, record.scope, record.versions[0])))


def test_every_field_of_a_record_is_tried_here():
    assert list(OTHER) == list(MemoryRecord.__struct_fields__)


@pytest.mark.parametrize("name", OTHER)
def test_the_hash_changes_with_each_field_and_the_record_reads_back(name):
    changed = msgspec.structs.replace(BARE, **{name: OTHER[name]})

    assert content_hash(changed) != content_hash(BARE)
    assert decode_record(encode_record(changed)) == changed
    assert sanitise_record(changed) is changed


@given(*[ANY] * 6)
def test_any_text_in_any_place_can_be_written_reported_and_read_back(a, b, c, d, e, f):
    record = MemoryRecord(
        id=a,
        content=b,
        messages=(Message(role=c, content=d, name=e, metadata={f: a}),),
        scope=Scope(user=b, session=c, extra={d: e}),
        metadata={f: [a, {b: c}]},
        tags=(d, e),
        superseded_by=f,
        versions=(Version(content=a, event=b, metadata={c: d}),),
        relations=(Relation(subject=e, predicate=f, object=a, attributes={b: c}),),
        attachments=(Attachment(name=d, url=e),),
        provenance={"x": f},
        visibility=a,
        derived_from=(b,),
        extensions={c: {d: e}},
    )

    safe = sanitise_record(record)

    assert decode_record(encode_record(safe)) == safe
    assert sanitise_record(safe) is safe
    has_surrogates = any("\ud800" <= char <= "\udfff" for text in (a, b, c, d, e, f) for char in text)
    assert (safe is record) is not has_surrogates
    assert bool(safe.sanitised) is has_surrogates
    "".join(safe.sanitised).encode()


@given(st.datetimes(), st.integers(-1439, 1439))
def test_a_time_keeps_its_moment_in_any_zone_or_is_refused(naive, minutes):
    value = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    try:
        moved = value.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            MemoryRecord(id="r", content="t", created_at=value)
        return

    record = MemoryRecord(id="r", content="t", created_at=value)

    assert record.created_at == moved
    assert record.created_at.tzinfo is UTC
    assert decode_record(encode_record(record)) == record
    assert parse_time(format_time(value)) == moved
    assert format_time(value).endswith("Z")
