"""The platform as a target: one request per record, found again by its key, never taken away by mistake."""

from datetime import UTC, datetime

import msgspec
import pytest

from memxfer.spi import (
    Document,
    FatalError,
    IngestState,
    Message,
    Outcome,
    RateLimitedError,
    Refused,
    Role,
    Scope,
)

pytestmark = pytest.mark.anyio

ADD = "POST /v3/memories/add/"


def prepared(target, record, key="mx:1", envelope=None):
    document = target.prepare(record, key, envelope or {})
    assert isinstance(document, Document), document
    return document


async def test_a_record_is_one_request_and_one_memory(platform, record):
    target = await platform.target()
    sent = record(
        content="Ann likes tea",
        scope=Scope(user="ann", agent="helper", app="web", session="s1", tenant="acme"),
        metadata={"a": {"b": [1, None]}},
        expires_at=datetime(2099, 1, 2, tzinfo=UTC),
    )
    document = prepared(target, sent, envelope={"tenant": "acme"})
    [receipt] = await target.write([document])
    [stored] = platform.truth()
    assert (receipt.outcome, receipt.target_ids) == (Outcome.CREATED, (stored["id"],))
    assert platform.calls()[ADD] == 1
    assert stored["memory"] == "Ann likes tea"
    assert [stored[name] for name in ("user_id", "agent_id", "app_id", "session_id")] == [
        "ann",
        "helper",
        "web",
        "s1",
    ]
    assert stored["metadata"] == {
        "a": {"b": [1, None]},
        "memxfer_key": "mx:1",
        "memxfer": {"tenant": "acme"},
    }
    assert (stored["created_at"], stored["expiration_date"]) == ("2025-03-01T08:30:15+00:00", "2099-01-01")
    assert document.owner == Scope(user="ann", agent="helper", app="web", session="s1")
    assert document.scope == "user"


async def test_what_was_written_is_found_by_its_key_and_nothing_else_is(platform, record):
    platform.put(10, metadata={"memxfer_key": "mx:10"})
    target = await platform.target()
    [receipt] = await target.write([prepared(target, record(1, expires_at=datetime(2020, 1, 1, tzinfo=UTC)))])
    assert await target.lookup(["mx:1", "mx:2"]) == {"mx:1": receipt.target_ids}


async def test_a_service_that_does_not_filter_by_metadata_is_not_believed(platform, record):
    target = await platform.target()
    platform.break_with(
        "/v3/memories/", status=200, body={"results": [{"id": "x", "memory": "m", "metadata": None}]}
    )
    with pytest.raises(FatalError, match="cannot be looked up"):
        await target.lookup(["mx:1"])


# -- the same text twice ------------------------------------------------------------------------


async def test_a_text_that_is_there_is_present_under_the_shared_id(platform, record):
    target = await platform.target()
    one, other = record(1, content="same"), record(2, content="same")
    [first] = await target.write([prepared(target, one, "mx:1")])
    [second] = await target.write([prepared(target, other, "mx:2")])
    assert (first.outcome, second.outcome) == (Outcome.CREATED, Outcome.PRESENT)
    assert first.target_ids == second.target_ids
    assert len(platform.truth()) == 1


async def test_a_text_that_is_skipped_without_a_word_is_not_called_stored(platform, record):
    platform.configure(collapse="empty")
    platform.put(text="same")
    target = await platform.target()
    [receipt] = await target.write([prepared(target, record(content="same"))])
    assert (receipt.outcome, receipt.error.code) == (Outcome.REJECTED, "not_stored")


async def test_an_add_that_is_queued_all_the_same_is_followed(platform, record):
    platform.configure(answers_late=True, event_seconds=3600)
    target = await platform.target()
    [receipt] = await target.write([prepared(target, record())])
    assert receipt.outcome is Outcome.PENDING
    assert (await target.ingest_status(receipt.ingestion_id)).state is IngestState.PROCESSING
    platform.configure(event_seconds=0)
    status = await target.ingest_status(receipt.ingestion_id)
    assert (status.state, len(status.target_ids)) == (IngestState.STORED, 1)
    assert (await target.ingest_status("never-was")).state is IngestState.GONE
    platform.break_with("/v1/event/", status=200, body={"status": "FAILED"})
    failed = await target.ingest_status(receipt.ingestion_id)
    assert (failed.state, failed.error.code) == (IngestState.FAILED, "not_stored")


# -- decisions ----------------------------------------------------------------------------------


async def test_nobodys_records_wait_for_a_decision(platform, record):
    nobody = record(scope=Scope(tenant="acme"))
    refused = (await platform.target()).prepare(nobody, "mx:1", {})
    assert refused.error.code == "unscoped"
    assert refused.remedies == ('unscoped = "skip"', 'unscoped = "assign:USER"')
    assert (await platform.target(unscoped="skip")).prepare(nobody, "mx:1", {}).reason == "unscoped"
    given = prepared(await platform.target(unscoped="assign:team"), nobody)
    assert given.owner == Scope(user="team")


@pytest.mark.parametrize("axis", ["user", "agent", "app", "session"])
async def test_one_axis_is_enough(platform, record, axis):
    target = await platform.target()
    await target.write([prepared(target, record(scope=Scope(**{axis: "x"})))])
    [stored] = platform.truth()
    named = {name for name in ("user_id", "agent_id", "app_id", "session_id") if stored[name] is not None}
    assert named == {"session_id" if axis == "session" else f"{axis}_id"}


@pytest.mark.parametrize("name", ["", "*", "a\0b"])
async def test_an_id_that_would_name_somebody_else_is_refused(platform, record, name):
    refused = (await platform.target()).prepare(record(scope=Scope(user="ann", agent=name)), "mx:1", {})
    assert (refused.error.code, refused.remedies) == ("scope_id", ())


async def test_undated_records_wait_for_a_decision(platform, record):
    undated = record(created_at=None)
    refused = (await platform.target()).prepare(undated, "mx:1", {})
    assert refused.error.code == "undated"
    assert (await platform.target(undated="skip")).prepare(undated, "mx:1", {}).reason == "undated"
    sent = prepared(await platform.target(undated="send"), undated)
    assert sent.changes == ("dated_today",)
    assert b"timestamp" not in sent.body


async def test_another_date_stands_in_and_is_said(platform, record):
    target = await platform.target()
    updated = record(created_at=None, updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    document = prepared(target, updated)
    assert document.changes == ("dated_otherwise",)
    assert msgspec.json.decode(document.body)["timestamp"] == 1735689600


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({}, ()),
        ({"content": "a\0b"}, ("nul_replaced",)),
        ({"metadata": {"a\0": ["\0"]}}, ("nul_replaced",)),
        ({"content": "the letters \\u0000"}, ()),
        ({"expires_at": datetime(2030, 1, 1, tzinfo=UTC)}, ()),
        ({"expires_at": datetime(2030, 1, 1, 12, tzinfo=UTC)}, ("expiry_rounded",)),
    ],
    ids=str,
)
async def test_what_one_record_loses_is_said_and_explained(platform, record, fields, changes):
    target = await platform.target()
    document = prepared(target, record(**fields))
    assert document.changes == changes
    assert set(changes) <= target.capabilities().changes.keys()
    assert b"\\u0000" not in document.body.replace(b"\\\\u0000", b"")


async def test_names_that_are_taken_are_kept_beside_and_come_back(platform, record):
    own = {"memxfer": "mine", "memxfer_key": "k", "topic": "tea"}
    target = await platform.target()
    await target.write([prepared(target, record(metadata=own), envelope={"pinned": True})])
    source = await platform.source()
    [page] = [await source.read_page(one, None, 5) async for one in source.list_partitions()]
    assert page.records[0].metadata == own
    assert page.records[0].extensions == {"memxfer": {"key": "mx:1", "envelope": {"pinned": True}}}


@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
    ids=str,
)
async def test_dates_are_cut_to_seconds_never_rounded(platform, record, at):
    target = await platform.target()
    await target.write([prepared(target, record(created_at=at))])
    assert platform.truth()[0]["created_at"] == at.replace(microsecond=0).isoformat()


async def test_what_can_never_be_stored_is_refused_before_it_is_sent(platform, record):
    target = await platform.target()
    for fields in ({"content": " \n"}, {"expires_at": datetime(1, 1, 1, tzinfo=UTC)}):
        assert isinstance(target.prepare(record(**fields), "mx:1", {}), Refused)


async def test_turns_are_the_text_where_there_is_no_other(platform, record):
    target = await platform.target()
    turns = (Message(role="user", content="Tea?"), Message(role="assistant", content="Yes."))
    body = msgspec.json.decode(prepared(target, record(content="", messages=turns)).body)
    assert body["messages"] == [{"role": "user", "content": "User: Tea?\nAssistant: Yes."}]


# -- deleting -----------------------------------------------------------------------------------


async def test_deleting_is_by_id_and_spares_everybody_else(platform, record):
    other = platform.put(text="older", replaced_by=None)
    target = await platform.target()
    receipts = [
        (await target.write([prepared(target, record(number), f"mx:{number}")]))[0] for number in range(20)
    ]
    ids = [one.target_ids[0] for one in receipts]
    assert await target.delete([*ids, ids[0], "no-such-id"]) == 20
    assert [one["id"] for one in platform.truth()] == [other.id]
    assert not [name for name in platform.calls() if name.startswith("DELETE") and "{memory_id}" not in name]


async def test_a_deletion_under_a_tight_rate_limit_gets_somewhere(platform):
    ids = [platform.put(number).id for number in range(30)]
    target = await platform.target()
    platform.configure(rate_limit={"per_minute": 1, "burst": 12})
    done = None
    tries = 0
    while done is None:
        tries += 1
        try:
            done = await target.delete(ids)
        except RateLimitedError:
            platform.configure(rate_limit={"per_minute": tries + 1, "burst": 12})
    assert (done, tries, platform.truth()) == (30, 3, [])


async def test_a_role_is_told_what_it_can_have(platform):
    target = platform.provider()
    await target.connect(Role.TARGET)
    assert target.capabilities().own_fields() == frozenset()
    await target.connect(Role.SOURCE)
    assert "mem0.last_change" in target.capabilities().own_fields()
