"""Invented memories that have everything a backend may stumble over."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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

NOW = datetime(2027, 2, 1, 12, tzinfo=UTC)
"""When these memories are looked at."""

BORN = datetime(2025, 3, 1, 8, 30, 15, 123_456, tzinfo=UTC)
ANN, BOB = Scope(user="ann"), Scope(user="bob/ü@example.org")
_DEEP = 200


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = {"in": value}
    return value


ODD: dict[str, dict[str, Any]] = {
    # whose
    "two_tenants_a": {"scope": Scope(user="cat", tenant="a")},
    "two_tenants_b": {"scope": Scope(user="cat", tenant="b")},
    "tenant_alone": {"scope": Scope(tenant="a")},
    "agent_alone": {"scope": Scope(agent="helper")},
    "session_alone": {"scope": Scope(session="s-1")},
    "group_alone": {"scope": Scope(group="team")},
    "nobody": {"scope": Scope()},
    "all_axes": {"scope": Scope(user="ann", agent="helper", app="web", session="s-1", group="team")},
    "own_axis": {"scope": Scope(user="ann", extra={"org": "x"})},
    "blank_in_user": {"scope": Scope(user="ann lee")},
    "nul_in_user": {"scope": Scope(user="a\x00b")},
    # what
    "empty": {"content": ""},
    "blank": {"content": " \n "},
    "huge": {"content": "word " * 30_000},
    "nul": {"content": "before\x00after"},
    "surrogate": {"content": "half \ud800 of a pair"},
    "unicode": {"content": "Zoë says 你好 👩‍👩‍👧 \u202eabc"},
    "turns": {"messages": (Message(role="user", content="hi", at=BORN), Message(role="bot", content="yes"))},
    "kind": {"kind": "preference"},
    "odd_kind": {"kind": "dream"},
    # when
    "undated": {"created_at": None, "updated_at": None},
    "year_one": {"created_at": datetime(1, 1, 1, tzinfo=UTC)},
    "year_9999": {"created_at": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)},
    "tomorrow": {"created_at": NOW + timedelta(days=400)},
    "happened": {"occurred_at": BORN - timedelta(days=3)},
    "expired": {"expires_at": datetime(2025, 6, 1, tzinfo=UTC), "state": RecordState.EXPIRED},
    "expires_at_noon": {"expires_at": datetime(2029, 6, 1, 12, tzinfo=UTC)},
    "ended": {"validity": Validity(valid_from=BORN, valid_to=NOW - timedelta(days=5), recorded_at=BORN)},
    "still_true": {"validity": Validity(valid_from=BORN)},
    "superseded": {"state": RecordState.SUPERSEDED, "superseded_by": "other"},
    "archived": {"state": RecordState.ARCHIVED},
    "versions": {"versions": (Version(content="first", at=BORN, event="ADD"),)},
    "odd_versions": {"versions": (Version(content="first", metadata={"why": "typo"}), Version(at=BORN))},
    # beside it
    "metadata": {"metadata": {"topic": "tea", "n": 1, "yes": True, "none": None}},
    "nested": {"metadata": {"a": {"b": [1, {"c": None}]}}},
    "abyss": {"metadata": {"deep": _nested(_DEEP)}},
    "big_metadata": {"metadata": {f"key-{n}": "x" * 200 for n in range(200)}},
    "taken_keys": {"metadata": {"memxfer": "mine", "source": "crm", "data": "x", "user_id": "y"}},
    "odd_numbers": {"metadata": {"nan": math.nan, "big": 10**30}},
    "tags": {"tags": ("a", "b")},
    "pinned": {"pinned": True},
    "scores": {"importance": 0.0, "confidence": 0.9},
    "provenance": {"provenance": {"actor_id": "ann", "index": 3}},
    "relations": {"relations": (Relation(subject="ann", predicate="likes", object="tea"),)},
    "embedding": {"embedding": Embedding(vector=(0.1, 0.2, 0.3), model="m", dims=3)},
    "attachments": {"attachments": (Attachment(name="a.pdf", url="https://example.org/a.pdf"),)},
    "visibility": {"visibility": "private"},
    "derived": {"derived_from": ("base",)},
    "own_fields": {"extensions": {"mem0": {"last_change": {"event": "UPDATE", "at": None}}}},
    "foreign_fields": {"extensions": {"zep": {"rating": 1}, "letta": {"block": "x"}}},
    "same_text_1": {"content": "the same text"},
    "same_text_2": {"content": "the same text"},
}


def record(name: str, number: int, **changes: Any) -> MemoryRecord:
    """Return a plain memory of Ann's with `changes`; its id is a UUID, stable for a name."""
    fields = {
        "id": str(UUID(int=0xA0000000000040008000000000000000 + number)),
        "content": f"Ann remembers {name} ({number}).",
        "scope": ANN,
        "created_at": BORN + timedelta(hours=number),
        "updated_at": BORN + timedelta(hours=number, days=1),
    }
    return MemoryRecord(**{**fields, **changes})


def population(count: int = 0) -> Iterator[MemoryRecord]:
    """Give one memory for each oddity, some with odd ids, and plain ones up to `count`."""
    number = 0
    for name, changes in ODD.items():
        yield record(name, number, **changes)
        number += 1
    for odd_id in ("plain-id", "with/slash and blank", "ü" * 90, "x" * 300):
        yield record("an odd id", number, id=odd_id, scope=BOB)
        number += 1
    while number < count:
        yield record("nothing special", number, scope=Scope(user=f"user-{number % 7}"))
        number += 1
