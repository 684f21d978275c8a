"""Containers: made once each, before what goes into them, and no orphan is left."""

import pytest

from memxfer.engine.control import StopCause
from memxfer.ledger import State
from memxfer.testing import Fault, FaultKind
from tests.unit.engine.housing import Town, housing_of

pytestmark = pytest.mark.anyio

LOST = [FaultKind.AMBIGUOUS_BEFORE, FaultKind.AMBIGUOUS_AFTER]
CRASH = [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER]


@pytest.fixture
def town():
    return Town()


@pytest.fixture
def housed(job, town, record):
    """A job of 40 records of 4 users with 5 rooms each."""
    job.target_class = housing_of(town)
    job.source.seed(
        record(f"r{n:04d}", user=f"user {n % 4}", metadata={"room": str(n // 4 % 5)}) for n in range(40)
    )
    return job


def check(job, town):
    """Everything is in, every room has somebody in it, and no two rooms of the job are one."""
    job.check_complete()
    assert sorted(town.houses) == [f"user {n}" for n in range(4)]
    assert [len(town.rooms[f"h-user {n}"]) for n in range(4)] == [5] * 4
    assert sorted(len(keys) for keys in town.contents.values()) == [2] * 20
    assert sum(map(len, town.rooms.values())) == len(town.contents)


async def test_containers_are_made_once_and_before_what_goes_into_them(housed, town):
    run = await housed.run()

    assert run.cause is None
    check(housed, town)
    assert max(map(len, town.calls)) == 3
    made = [name for call in town.calls for name in call]
    assert len(made) == len(set(made)) == 24


async def test_the_ledger_knows_each_container_and_whether_it_was_made(housed, town):
    town.houses["user 0"] = "h-user 0"
    await housed.run()

    rows = housed.query(
        "SELECT name, target_id, made, tries FROM container WHERE kind = 'house' ORDER BY name"
    )
    assert rows == [(f"house:user {n}", f"h-user {n}", int(n > 0), 1) for n in range(4)]


async def test_places_in_one_container_are_made_one_call_after_the_other(job, town, record):
    job.target_class = housing_of(town)
    job.source.seed(record(f"r{n:04d}", metadata={"room": str(n)}) for n in range(40))
    await job.run()

    assert town.most_together == 1
    assert len(town.contents) == 40


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("call", range(1, 10))
async def test_a_lost_answer_makes_nothing_twice_and_leaves_no_orphan(housed, town, kind, call):
    run = await housed.run(target_faults=[Fault(kind, on="ensure", calls=(call,))])

    assert run.cause is None
    check(housed, town)


@pytest.mark.parametrize("kind", CRASH)
@pytest.mark.parametrize("call", range(1, 10))
async def test_a_crash_before_the_id_is_noted_makes_nothing_twice_and_leaves_no_orphan(
    housed, town, kind, call
):
    crashed = await housed.run(target_faults=[Fault(kind, on="ensure", calls=(call,))])
    assert crashed.crashed

    run = await housed.run()

    assert run.cause is None
    check(housed, town)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_crash_at_every_commit_makes_nothing_twice_and_leaves_no_orphan(make_job, record, durable):
    for crash_at in range(1, 60):
        town, job = Town(), make_job()
        job.target_class = housing_of(town)
        job.source.seed(
            record(f"r{n:04d}", user=f"user {n % 4}", metadata={"room": str(n // 4 % 5)}) for n in range(40)
        )
        run = await job.run(crash_at=crash_at, durable=durable)
        if not run.crashed:
            break
        await job.run()
        check(job, town)
    assert crash_at > 20


async def test_a_container_that_can_never_be_made_costs_only_what_should_go_into_it(housed, town):
    town.refused.add("room:user 1/3")

    run = await housed.run()

    assert run.cause is None
    assert housed.states() == {State.STORED: 38, State.FAILED: 2}
    assert housed.problem_of("r0013") == "unbuildable"
    assert housed.query("SELECT count(*) FROM container") == [(23,)]


async def test_what_is_in_a_container_that_cannot_be_made_fails_with_it(housed, town):
    town.refused.add("house:user 2")

    await housed.run()

    assert housed.states() == {State.STORED: 30, State.FAILED: 10}
    assert "h-user 2" not in town.rooms


async def test_a_container_is_used_once_its_task_has_ended(housed, town):
    housed.target_class = housing_of(town, tasks=True)

    run = await housed.run()

    assert run.cause is None
    assert sum(map(len, town.rooms.values())) == 20
    assert all(f"asked task {room}" in town.houses for rooms in town.rooms.values() for room in rooms)


async def test_a_crash_while_a_task_runs_goes_on_with_that_task(housed, town):
    housed.target_class = housing_of(town, tasks=True)
    crashed = await housed.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, on="ingest_status", calls=(1,))])
    assert crashed.crashed

    await housed.run()

    housed.check_complete()
    assert sum(map(len, town.rooms.values())) == 20


async def test_a_failed_task_fails_what_waited_for_it_and_the_next_one_tries_anew(housed, town):
    housed.target_class = housing_of(town, tasks=True)
    town.refused.add("task h-user 0/0")

    run = await housed.run()

    assert run.cause is None
    assert housed.states() == {State.STORED: 39, State.FAILED: 1}
    assert town.rooms["h-user 0"][-1] == "h-user 0/5"


async def test_a_target_that_never_says_whether_it_made_something_pauses_the_job(housed, town):
    run = await housed.run(target_faults=[Fault(FaultKind.AMBIGUOUS_AFTER, on="ensure")])
    assert run.cause is StopCause.UNAVAILABLE

    await housed.run()

    check(housed, town)


@pytest.mark.parametrize("kind", [FaultKind.RATE_LIMITED, FaultKind.UNAVAILABLE])
async def test_what_certainly_did_not_happen_is_asked_for_again_as_if_for_the_first_time(housed, town, kind):
    await housed.run(target_faults=[Fault(kind, on="ensure", calls=(1, 3), retry_after=1)])

    check(housed, town)
    assert housed.query("SELECT max(tries) FROM container") == [(1,)]


async def test_a_refused_key_pauses_the_job_with_nothing_half_made(housed, town):
    run = await housed.run(target_faults=[Fault(FaultKind.AUTH, on="ensure", calls=(4,))])
    assert run.cause is StopCause.AUTH

    await housed.run()

    check(housed, town)


async def test_documents_of_two_lanes_never_share_a_request(job, town, record):
    job.target_class = housing_of(town)
    job.target_config = {"max_batch": 50}
    job.source.seed(record(f"r{n:04d}", user=f"user {n % 3}") for n in range(60))

    run = await job.run()

    job.check_complete()
    assert run.target.script.calls("write") == 3


async def test_more_lanes_than_can_wait_are_all_sent(job, town, record):
    job.target_class = housing_of(town)
    job.source.seed(record(f"r{n:04d}", user=f"user {n}") for n in range(600))

    await job.run()

    job.check_complete()
    assert len(town.houses) == 600
