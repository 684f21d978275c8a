from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models import MemoryRecord, Message, Validity, ensure_utc, format_time, parse_time

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - what is tested


class Zoneless(tzinfo):
    def utcoffset(self, dt):
        return None


@pytest.mark.parametrize("value", [NAIVE, NAIVE.replace(tzinfo=Zoneless())])
def test_a_time_without_a_zone_is_refused(value):
    with pytest.raises(ValueError, match="zone"):
        ensure_utc(value)


@pytest.mark.parametrize(
    "build",
    [
        lambda: MemoryRecord(id="a", content="x", created_at=NAIVE),
        lambda: MemoryRecord(id="a", content="x", expires_at=NAIVE),
        lambda: Message(role="u", content="x", at=NAIVE),
        lambda: Validity(valid_to=NAIVE),
    ],
)
def test_no_part_of_a_record_takes_a_time_without_a_zone(build):
    with pytest.raises(ValueError, match="zone"):
        build()


def test_other_zones_are_moved_to_utc():
    east = timezone(timedelta(hours=9))
    record = MemoryRecord(id="a", content="x", created_at=datetime(2026, 1, 1, 9, tzinfo=east))
    assert record.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert record.created_at.tzinfo is UTC


def test_a_time_that_leaves_the_calendar_in_utc_is_refused():
    with pytest.raises(ValueError, match="years 1 to 9999"):
        ensure_utc(datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=9))))


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_reads_back(value):
    assert parse_time(format_time(value)) == value
    assert format_time(value) == value.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    "text", ["2026-01-01 10:00:00Z", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z"]
)
def test_the_usual_spellings_are_read(text):
    assert parse_time(text) == datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_a_time_without_a_zone_is_read_as_utc_only_when_told_so():
    assert parse_time("2026-01-01T10:00:00", assume_utc=True) == datetime(2026, 1, 1, 10, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        parse_time("2026-01-01T10:00:00")
