"""Archives in a temporary folder, and records with something in every field."""

from datetime import UTC, datetime

import pytest

from memxfer.archive import ArchiveReader, ArchiveWriter, encode_line
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

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def full_record(index=0):
    return MemoryRecord(
        id=f"id-{index}",
        content=f'text {index} — naïve \U0001f600 \u2028 "quoted"\nsecond line',
        messages=(Message(role="user", content="Hi", name="Ann", at=NOW, metadata={"a": 1}),),
        kind="preference",
        scope=Scope(user="u", agent="a", app="p", session="s", tenant="t", group="g", extra={"region": "eu"}),
        metadata={"nested": {"list": [1, 2.5, None, True, {"x": "y"}]}, "ключ": "значение"},
        tags=("one", "two"),
        created_at=NOW,
        updated_at=NOW.replace(microsecond=123456),
        occurred_at=NOW.replace(year=1969),
        expires_at=NOW.replace(year=2099),
        validity=Validity(valid_from=NOW, valid_to=NOW, recorded_at=NOW, invalidated_at=NOW),
        state=RecordState.SUPERSEDED,
        superseded_by="id-9",
        pinned=True,
        versions=(Version(content=None, at=NOW, event="DELETE", metadata={"by": "x"}),),
        relations=(
            Relation(
                subject="s", predicate="p", object="o", subject_id="1", object_id="2", attributes={"w": 0.5}
            ),
        ),
        embedding=Embedding(vector=(0.1, -1e-9), model="m", dims=2),
        importance=0.25,
        confidence=0.75,
        provenance={"index": 3},
        attachments=(Attachment(name="n", media_type="image/png", url="https://x.test/a", size=3),),
        visibility="private",
        derived_from=("a", "b"),
        extensions={"mem0": {"hash": "abc"}},
        sanitised=("metadata.x",),
    )


class Folder:
    """One archive folder; opens writers and readers on it."""

    def __init__(self, path):
        self.path = path

    @staticmethod
    def full(index=0):
        return full_record(index)

    @staticmethod
    def plain(index, content=None):
        return MemoryRecord(id=f"id-{index}", content=f"text {index}" if content is None else content)

    @staticmethod
    def line(record, key=None):
        key = key or f"key-{record.id}"
        return key, encode_line(key, record)

    def writer(self):
        return ArchiveWriter(self.path, now=lambda: NOW, tool="memxfer test")

    def reader(self):
        return ArchiveReader(self.path)

    def write(self, *records, finish=True):
        with self.writer() as writer:
            outcomes = writer.append([self.line(record) for record in records])
            if finish:
                writer.finish()
        return outcomes

    def contents(self):
        return [item.record.content for item in self.reader().records()]

    def part(self, number=1, *, is_open=False):
        suffix = ".open" if is_open else ""
        return self.path / "records" / f"part-{number:05d}.jsonl.gz{suffix}"


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "backup")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of three lines."""
    monkeypatch.setattr("memxfer.archive.part._LINES", 3)
