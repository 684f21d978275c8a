import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from memxfer.ledger import State
from memxfer.migration import Counts, JobStatus, Progress, SilentObserver, StopSignal
from memxfer.migration import meter as meter_module
from memxfer.migration.meter import Meter
from memxfer.migration.outcome import counts_of, observed_losses, resting_status

# -- counts and status ------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in State if s not in (State.ROLLED_BACK, State.WAITING)])
def test_every_state_of_a_record_is_counted_once(state):
    counts = counts_of(Counter({state.value: 3, "rows_ignored": 9, "documents_resent": 4}))

    shown = {name: n for name, n in counts.model_dump().items() if n}
    assert shown == {"listed": 3, "uncertain" if state is State.INTENT else state.value: 3}


def test_what_waits_for_the_rest_of_its_group_is_as_if_it_were_not_listed_yet():
    assert counts_of(Counter(waiting=3, stored=2)) == Counts(listed=2, stored=2)


@pytest.mark.parametrize(
    ("is_running", "states"), [(False, {"uncertain": 3}), (True, {"in_flight": 2, "uncertain": 1})]
)
def test_an_intent_is_in_flight_while_a_run_may_still_get_its_answer_and_uncertain_after_it(
    is_running, states
):
    counts = counts_of(Counter(intent=2, uncertain=1, stored=4), is_running=is_running)
    assert counts == Counts(listed=7, stored=4, **states)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, JobStatus.COMPLETED),
        ({"stored": 1, "present": 1, "skipped": 1, "gone": 1}, JobStatus.COMPLETED),
        ({"failed": 1, "stored": 9}, JobStatus.COMPLETED_WITH_FAILURES),
        ({"rejected": 1}, JobStatus.COMPLETED_WITH_FAILURES),
        ({"accepted": 1}, JobStatus.INCOMPLETE),
        ({"uncertain": 1, "failed": 1}, JobStatus.INCOMPLETE),
    ],
)
def test_a_job_at_rest_is_never_called_better_than_it_is(counts, status):
    assert resting_status(Counts(**counts)) is status


def test_what_the_target_lost_on_its_side_is_told():
    assert observed_losses(0, "new") == ()
    (line,) = observed_losses(1_200, "new")
    assert (line.dimension, line.verdict, line.records) == ("content", "lost", 1_200)
    assert line.consequence == "1,200 documents were processed by new, and it kept no memory of them."


# -- stop -------------------------------------------------------------------------------------


def test_a_stop_reaches_every_listener_once_and_late_ones_at_once():
    stop, heard = StopSignal(), []
    stop.on_request(lambda: heard.append("early"))

    assert not stop.is_set
    stop.request()
    stop.request()
    stop.on_request(lambda: heard.append("late"))

    assert heard == ["early", "late"]
    assert stop.is_set


# -- meter ------------------------------------------------------------------------------------


class Watch:
    """Turned by hand, in the place of the module `time`."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def watch(monkeypatch):
    made = Watch()
    monkeypatch.setattr(meter_module, "time", made)
    return made


@pytest.fixture
def metered(watch, notes):
    """Report one progress at a time: `metered(progress, after=seconds)`; returns what was told."""
    box = []
    meter = Meter(notes, lambda: box[-1])

    def report(progress, *, after=0.0):
        watch.now += after
        box.append(progress)
        meter._report()
        return notes.seen[-1]

    return report


def test_rate_and_time_to_go_come_from_what_was_done(metered):
    assert metered(Progress("move", 0, 100)) == Progress("move", 0, 100, rate=0.0, eta=None)
    assert metered(Progress("move", 20, 100), after=2.0) == Progress("move", 20, 100, rate=10.0, eta=8.0)
    assert metered(Progress("move", 120, 100), after=2.0).eta == 0.0
    assert metered(Progress("move", 120, None)).eta is None


def test_a_new_phase_starts_its_rate_anew(metered):
    metered(Progress("scan", 0, 10))
    metered(Progress("scan", 10, 10), after=1.0)

    assert metered(Progress("move", 0, 10), after=1.0).rate == 0.0
    assert metered(Progress("move", 4, 10), after=2.0).rate == 2.0


def test_a_rate_forgets_what_is_long_ago(metered):
    for number in range(60):
        told = metered(Progress("move", number * 100 if number < 20 else 2_000, 9_000), after=0.25)

    assert told.rate == 0.0
    assert told.eta is None


def test_time_to_go_is_told_between_two_rounds_of_answers_of_a_slow_target(metered):
    """Answers come in bursts with half a minute between."""
    for second in range(100):
        told = metered(Progress("settle", 60 * (second // 30), 600), after=1.0)

        if second >= 30:
            assert told.eta is not None
    assert told.rate == pytest.approx(60 / 30, rel=0.2)


def test_what_else_is_known_is_passed_on(metered):
    told = metered(Progress("move", 1, 2, failed=3, waiting=4.0))

    assert replace(told, rate=0.0, eta=None) == Progress("move", 1, 2, failed=3, waiting=4.0)


@pytest.mark.anyio
async def test_a_block_is_told_at_its_begin_and_end_even_when_it_fails(notes, watch):
    done, before = [0], asyncio.all_tasks()

    async def fail():
        async with Meter(notes, lambda: Progress("move", done[0])).running():
            await asyncio.sleep(0)
            done[0] = 5
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert [progress.done for progress in notes.seen] == [0, 5]
    assert asyncio.all_tasks() == before


def test_the_silent_observer_takes_everything():
    observer = SilentObserver()

    assert observer.progress(Progress("scan", 1)) is None
    assert observer.notice("info", "x") is None
