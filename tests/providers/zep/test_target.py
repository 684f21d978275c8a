"""Writing: one request a call, receipts that can be believed, tasks, look-ups and deletes."""

import logging
import time

import msgspec
import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    IngestState,
    NotReadyError,
    Outcome,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    Relation,
    Role,
    Scope,
    SupportsContainers,
    SupportsGroups,
    UnavailableError,
)
from tests.providers.zep.records import AT, fact, staged, talk, text

pytestmark = pytest.mark.anyio

_PRIVATE = "the locker code is forty-one seventy"


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
async def staging(zep):
    return zep.staging(await zep.target())


async def test_it_has_what_the_engine_asks_for(zep):
    provider = zep.provider()
    assert isinstance(provider, SupportsContainers)
    assert isinstance(provider, SupportsGroups)


# -- receipts -----------------------------------------------------------------------------------


async def test_a_hundred_facts_are_one_request_and_one_question(zep, staging):
    zep.configure(task_seconds=0)
    batch = await staged(staging, *(fact(n) for n in range(100)))
    before = len(zep.calls())
    receipts = await staging.target.write(batch)
    assert len(zep.calls()) == before + 1
    assert {one.outcome for one in receipts} == {Outcome.PENDING}
    statuses = [await staging.target.ingest_status(one.ingestion_id) for one in receipts]
    assert len(zep.calls()) == before + 2
    assert {one.state for one in statuses} == {IngestState.STORED}
    stored = {edge["uuid"]: edge["fact"] for edge in zep.truth("edge")}
    for index, (receipt, status) in enumerate(zip(receipts, statuses, strict=True)):
        assert status.target_ids == receipt.target_ids
        assert stored[receipt.target_ids[0].split(":")[-1]] == f"fact {index}"


async def test_a_fact_s_ends_are_the_entities_that_were_made_and_no_others(zep, staging):
    relations = (Relation(subject="Ann", predicate="works at", object="Acme"),)
    batch = await staged(staging, *(fact(n, relations=relations) for n in range(3)))
    await staging.target.write(batch)
    assert zep.counts()["node"] == 3  # the user's own, Ann and Acme
    assert {(one["source_node_name"], one["target_node_name"]) for one in zep.truth("edge")} == {
        ("Ann", "Acme")
    }


async def test_an_episode_is_a_request_of_its_own(zep, staging):
    [document] = await staged(staging, text())
    [receipt] = await staging.target.write([document])
    [episode] = zep.truth("episode")
    assert (episode["content"], episode["reference_time"]) == ("fact 0", "2024-03-09T00:00:00Z")
    assert receipt.target_ids[0].endswith(episode["uuid"])
    assert (await staging.target.ingest_status(receipt.ingestion_id)).state is IngestState.STORED


async def test_a_thread_goes_in_order_with_the_id_of_every_message(zep, staging):
    parts = await staged(staging, *(talk(n) for n in range(40)))
    joined = staging.target.join(parts)
    receipts = [(await staging.target.write([one.document]))[0] for one in joined]
    assert [one.count for one in joined] == [30, 10]
    ids = [target_id.split(":")[-1] for one in receipts for target_id in one.target_ids]
    stored = {message["uuid"]: message["content"] for message in zep.truth("message")}
    assert [stored[one] for one in ids] == [f"turn {n}" for n in range(40)]
    status = await staging.target.ingest_status(receipts[0].ingestion_id)
    assert (status.state, status.target_ids) == (IngestState.STORED, receipts[0].target_ids)
    assert zep.counts()["thread"] == 1


async def test_what_was_written_reads_back_as_it_was(zep, staging):
    one = fact(
        kind="preference",
        metadata={"deep": {"a": [None]}, "n": 1},
        relations=(Relation(subject="Ann", predicate="works at", object="Acme"),),
    )
    await staging.target.write(await staged(staging, one))
    [found] = await zep.records()
    assert (found.content, found.metadata, found.created_at) == (one.content, one.metadata, AT)
    assert found.relations[0].predicate == "works at"
    assert found.scope == Scope(user="ann")
    assert found.extensions["memxfer"] == {"key": "k:r0"}
    assert found.validity.recorded_at.year >= 2026


async def test_a_session_reads_back_under_its_own_name(zep, staging):
    [part] = await staged(staging, talk())
    await staging.target.write([part])
    [found] = await zep.records(unit="messages")
    assert found.scope == Scope(user="ann", session="42")
    [shadow] = await zep.records(unit="episodes")
    assert shadow.scope.session == "42"


async def test_lanes_and_missing_containers_are_refused_without_a_request(zep, staging):
    ann, bob = await staged(staging, fact(), fact(1, user="bob"))
    before = len(zep.calls())
    with pytest.raises(ProviderError, match="several lanes"):
        await staging.target.write([ann, bob])
    with pytest.raises(ProviderError, match="containers were not made"):
        await staging.target.write([msgspec.structs.replace(ann, container_ids=())])
    assert await staging.target.write([]) == []
    assert len(zep.calls()) == before


# -- what can go wrong --------------------------------------------------------------------------

LOST = {
    "closed": {"close": "eof"},
    "reset": {"close": "reset"},
    "closed after": {"close": "eof", "when": "after"},
    "cut": {"cut": 20, "when": "after"},
    "malformed": {"malformed": True, "when": "after"},
    "html": {"preset": "html"},
    "500": {"status": 500},
    "503": {"status": 503},
    "408": {"status": 408},
    "conflict": {"status": 409, "body": {"error": {"code": "idempotency_conflict"}}},
    "no rows": {"status": 202, "body": {"task": {"uuid": "t"}}},
    "a row too few": {"status": 202, "body": {"edges": [], "task": {"uuid": "t"}}},
}


@pytest.mark.parametrize("action", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("make", [fact, text, talk], ids=["fact", "episode", "message"])
async def test_what_may_have_happened_is_unknown(zep, staging, action, make):
    [document] = await staged(staging, make())
    zep.break_with(match={"path_regex": ".*/(edges|episodes|messages)"}, **action)
    [receipt] = await staging.target.write([document])
    assert receipt.outcome is Outcome.UNKNOWN
    assert isinstance(receipt.error, AmbiguousError)
    assert zep.emulator.faults.report()[0]["seen"] == 1


REFUSED = {
    "401": ({"status": 401}, AuthError),
    "403": ({"status": 403}, AuthError),
    "402": ({"preset": "payment_required"}, QuotaExceededError),
    "429": ({"preset": "rate_limited"}, RateLimitedError),
    "no zep": ({"status": 404, "body": "nobody"}, UnavailableError),
}


@pytest.mark.parametrize(("action", "kind"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_certainly_did_not_happen_is_raised(zep, staging, action, kind):
    batch = await staged(staging, fact(), fact(1))
    zep.break_with(match={"path_regex": ".*/edges"}, **action)
    with pytest.raises(kind):
        await staging.target.write(batch)
    assert "edge" not in zep.counts()


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_batch_is_raised_and_a_refused_document_is_rejected(zep, staging, status):
    batch = await staged(staging, fact(), fact(1))
    zep.break_with(match={"path_regex": ".*/edges"}, status=status)
    with pytest.raises(BatchRefusedError):
        await staging.target.write(batch)
    [receipt] = await staging.target.write(batch[:1])
    assert (receipt.outcome, receipt.error.status) == (Outcome.REJECTED, status)


async def test_a_container_that_is_gone_rejects_what_goes_into_it(zep, staging):
    [document] = await staged(staging, fact())
    zep.emulator.store.state.clear()
    [receipt] = await staging.target.write([document])
    assert (receipt.outcome, receipt.error.code) == (Outcome.REJECTED, "not_found")


async def test_a_lost_answer_repeated_by_another_process_stores_once(zep, staging):
    batch = await staged(staging, fact(), fact(1))
    zep.break_with(match={"path_regex": ".*/edges"}, close="eof", when="after")
    lost = await staging.target.write(batch)
    zep.break_with("/nowhere", status=500)
    again = await (await zep.target()).write(batch)
    assert {one.outcome for one in lost} == {Outcome.UNKNOWN}
    assert {one.outcome for one in again} == {Outcome.PENDING}
    assert zep.counts()["edge"] == 2
    assert zep.emulator.summary()["doubled"] == {}


async def test_an_answer_from_before_is_not_believed(zep, staging):
    [document] = await staged(staging, text())
    [first] = await staging.target.write([document])
    await staging.target.delete(first.target_ids)
    for row in zep.emulator.store.state.db.execute("SELECT key, body FROM replays").fetchall():
        old = msgspec.json.decode(row[1])
        if "task" in old:
            old["task"]["created_at"] = "2020-01-01T00:00:00Z"
        zep.emulator.store.state.db.execute(
            "UPDATE replays SET body = ? WHERE key = ?", (msgspec.json.encode(old), row[0])
        )
    [second] = await staging.target.write([document])
    assert (second.outcome, second.error.code) == (Outcome.UNKNOWN, "replayed")
    assert await staging.target.lookup([document.key]) == {}


async def test_errors_carry_no_memory_and_no_key(zep, staging, caplog):
    caplog.set_level(logging.DEBUG)
    [document] = await staged(staging, fact(content=_PRIVATE))
    said = {"error": {"code": "invalid", "message": f"bad fact: {_PRIVATE}"}}
    zep.break_with(match={"path_regex": ".*/edges"}, status=400, body=said)
    [receipt] = await staging.target.write([document])
    error = receipt.error
    while error is not None:
        assert _PRIVATE not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "zep_emulator_key" not in caplog.text
    assert not any(_PRIVATE in one.getMessage() for one in caplog.records)


async def test_v3_is_refused_as_a_target_too(zep):
    zep.configure(api="v3")
    with pytest.raises(Exception, match="speaks v4 only"):
        await zep.provider().connect(Role.TARGET)


# -- tasks --------------------------------------------------------------------------------------


async def test_facts_are_accepted_long_before_they_are_there(zep, staging):
    batch = await staged(staging, fact(), fact(1))
    zep.configure(task_seconds=60)
    [receipt, _] = await staging.target.write(batch)
    assert (await staging.target.ingest_status(receipt.ingestion_id)).state is IngestState.PROCESSING
    with pytest.raises(NotReadyError, match="still busy with 1 task"):
        await staging.target.lookup(["k:r0"])
    zep.clock.now += 61
    assert await staging.target.lookup(["k:r0"]) == {"k:r0": receipt.target_ids}
    fresh = await zep.target()
    assert (await fresh.ingest_status(receipt.ingestion_id)).state is IngestState.STORED
    assert await fresh.lookup(["k:r0"]) == {"k:r0": receipt.target_ids}


async def test_a_running_task_is_asked_about_once_a_round_by_all_its_documents(zep, staging):
    batch = await staged(staging, *(fact(n) for n in range(20)))
    zep.configure(task_seconds=60)
    receipts = await staging.target.write(batch)
    before = len(zep.calls())
    for asked in (1, 2):
        for receipt in receipts:
            status = await staging.target.ingest_status(receipt.ingestion_id)
            assert status.state is IngestState.PROCESSING
        assert len(zep.calls()) - before == asked
    zep.clock.now += 61
    states = {(await staging.target.ingest_status(one.ingestion_id)).state for one in receipts}
    assert states == {IngestState.STORED}


async def test_a_failed_task_fails_its_documents(zep, staging):
    batch = await staged(staging, fact(), fact(1))
    zep.configure(failing_tasks={"graph.add_edges"})
    receipts = await staging.target.write(batch)
    for receipt in receipts:
        status = await staging.target.ingest_status(receipt.ingestion_id)
        assert (status.state, status.target_ids) == (IngestState.FAILED, ())
        assert status.error.code == "task_failed"


@pytest.mark.parametrize("names", [True, False], ids=["named", "not named"])
async def test_a_task_that_did_a_part_is_told_fact_by_fact(zep, staging, names):
    batch = await staged(staging, *(fact(n) for n in range(3)))
    zep.configure(partial_facts={1}, tasks_name_facts=names)
    receipts = await staging.target.write(batch)
    states = [(await staging.target.ingest_status(one.ingestion_id)).state for one in receipts]
    assert states == [IngestState.STORED, IngestState.FAILED, IngestState.STORED]
    assert {edge["fact"] for edge in zep.truth("edge")} == {"fact 0", "fact 2"}


async def test_a_task_that_nobody_knows_is_gone_and_one_that_cannot_be_asked_is_not(zep, staging):
    unknown = "11111111-1111-4111-8111-111111111111 fact:1:2"
    assert (await staging.target.ingest_status(unknown)).state is IngestState.GONE
    zep.break_with("/api/v4/tasks", status=503)
    with pytest.raises(UnavailableError):
        await staging.target.ingest_status(unknown)
