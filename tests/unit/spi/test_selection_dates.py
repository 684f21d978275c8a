"""Every operator against a date, in every zone, and against a record without one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models import MemoryRecord
from memxfer.spi import Selection

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
RECORD = MemoryRecord(id="r1", content="text", created_at=NOON)
EXPECTED = {"=": "s", "!=": "be", ">=": "sb", "<=": "se", ">": "b", "<": "e"}
"""Which of a bound before, at the same time, or after the record's moment each operator meets."""


@pytest.mark.parametrize("op", EXPECTED)
@pytest.mark.parametrize("field", ["created_at", "updated_at", "occurred_at", "expires_at"])
def test_each_operator_compares_moments(field, op):
    record = MemoryRecord(id="r1", content="text", **{field: NOON})
    bounds = {
        "b": "2025-01-01T11:59:59",
        "s": "2025-01-01T13:00:00+01:00",
        "e": "2025-01-01T12:00:00.000001Z",
    }

    met = {name for name, bound in bounds.items() if Selection.parse(f"{field}{op}{bound}").matches(record)}

    assert met == set(EXPECTED[op])


@pytest.mark.parametrize("op", EXPECTED)
def test_a_record_without_the_date_meets_only_an_unequal(op):
    bare = MemoryRecord(id="r", content="t")

    assert Selection.parse(f"created_at{op}2025-01-01").matches(bare) is (op == "!=")


@given(st.integers(-14, 14), st.integers(-3, 3))
def test_a_zone_moves_nothing_but_the_spelling(hours, minutes):
    moment = (NOON + timedelta(minutes=minutes)).astimezone(timezone(timedelta(hours=hours)))

    assert Selection.parse(f"created_at>={moment.isoformat()}").matches(RECORD) is (minutes <= 0)


def test_the_metadata_of_a_record_is_read_as_json_writes_it():
    record = MemoryRecord(id="r", content="t", metadata={"off": False, "a b": "x", "d.e": "f", "n": 1.5})

    for text in (
        "metadata.off=false",
        "metadata.off!=False",
        "metadata.a b = x",
        "metadata.d.e=f",
        "metadata.n=1.5",
    ):
        assert Selection.parse(text).matches(record), text
