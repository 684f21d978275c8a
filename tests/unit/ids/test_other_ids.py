import re
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.ids import fingerprint, job_id, stable_uuid

AT = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def test_a_job_id_is_readable():
    assert job_id("old", "new", at=AT, token=lambda: "x7k2") == "old-to-new-20260131-120005-x7k2"


@given(st.text(), st.text())
def test_a_job_id_can_name_a_folder_whatever_the_connections_are_called(source, target):
    assert FOLDER_NAME.fullmatch(job_id(source, target, at=AT, token=lambda: "x7k2"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("archive:./My Backup", "archive-my-backup"), ("a" * 90, "a" * 24), ("--x--", "x"), ("日本", "store")],
)
def test_a_connection_is_shown_in_plain_letters(name, shown):
    assert job_id(name, "new", at=AT, token=lambda: "t").startswith(f"{shown}-to-new-")


def test_two_jobs_of_one_second_differ_by_their_token():
    tokens = iter(["aa", "bb"])

    first, second = (job_id("old", "new", at=AT, token=lambda: next(tokens)) for _ in range(2))

    assert first != second


def test_a_stable_uuid_is_the_one_it_was_on_every_machine_before():
    assert stable_uuid("mx:mem0-oss:main:1") == "bd2092b0-0742-5845-8cc8-de02d564260f"
    assert uuid.UUID(stable_uuid("a", "b")).version == 5


@given(
    st.lists(st.text(alphabet="ab%é", min_size=1), min_size=1, max_size=3),
    st.lists(st.text(alphabet="ab%é", min_size=1), min_size=1, max_size=3),
)
def test_other_parts_give_another_uuid(one, other):
    assert (stable_uuid(*one) == stable_uuid(*other)) == (one == other)


def test_a_fingerprint_ignores_the_order_of_its_parts():
    assert fingerprint({"a": 1, "b": [2, None]}) == fingerprint({"b": [2, None], "a": 1})


@pytest.mark.parametrize("parts", [{"a": 2}, {"a": "1"}, {"b": 1}, {"a": 1, "b": None}, {}])
def test_a_fingerprint_changes_with_any_part(parts):
    mark = fingerprint(parts)

    assert mark != fingerprint({"a": 1})
    assert re.fullmatch("[0-9a-f]{32}", mark)
