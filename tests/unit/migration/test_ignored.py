"""Rows that are no memories, in every verb: told by reason, left out as agreed, alone no clean end."""

import pytest

from memxfer import migration
from memxfer.cli import exits
from memxfer.engine.control import StopCause
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.gaps import Verdict
from memxfer.migration import JobStatus, Options
from memxfer.plan import JobPlan
from memxfer.spi import Ignored
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

AGREED = Options(accept_loss=("ignored",))


class Marked(MemoryReferenceProvider):
    """Records whose kind says why are no memories; `marker` alone is harmless."""

    def _decode(self, row, partition):
        record = row.record
        if record.kind in ("marker", "no_text"):
            return Ignored(record.kind, record.id, harmless=record.kind == "marker")
        return record


def read(ends, **settings):
    return ends.read(kind=Marked, **settings)


@pytest.fixture
def mixed(ends):
    """2 memories, 40 rows without a text, 3 markers."""
    ends.seed(2)
    ends.seed(40, start=100, kind="no_text")
    ends.seed(3, start=200, kind="marker")
    return ends


async def test_a_report_tells_them_by_reason_and_its_rows_add_up(mixed, state):
    found = await migration.diff(read(mixed), mixed.write(), state_dir=state)

    assert (found.scanned, found.rows, found.ignored) == (2, 45, {"no_text": 40, "marker": 3})
    lines = [line for line in found.dimensions if line.dimension == "ignored"]
    assert [(line.records, line.verdict, line.samples[0]) for line in lines] == [
        (40, Verdict.LOST, "r100"),
        (3, Verdict.LEFT_OUT, "r200"),
    ]


async def test_a_selection_is_told_apart_from_what_it_is_not_asked_about(mixed, state):
    mixed.seed(5, start=300, kind="event")
    options = Options(where="kind=event")

    found = await migration.diff(read(mixed), mixed.write(), options=options, state_dir=state)

    assert (found.rows, found.scanned, found.filtered, sum(found.ignored.values())) == (50, 5, 2, 43)
    with pytest.raises(ConfigError, match=r"not asked about rows that are no memories: 43 \(no text 40"):
        await migration.diff(
            read(mixed), mixed.write(), options=Options(where="user=nobody"), state_dir=state
        )


async def test_a_move_does_not_begin_without_consent_and_the_error_has_the_plan(mixed, state):
    with pytest.raises(DecisionRequiredError, match=r"40 rows of .* are ignored: no text") as caught:
        await migration.migrate(read(mixed), mixed.write(), state_dir=state)

    assert caught.value.remedies == ("--accept-loss ignored",)
    assert isinstance(caught.value.plan, JobPlan)
    assert caught.value.plan.forecast.ignored == {"no_text": 40, "marker": 3}
    assert len(mixed.target) == 0


async def test_consent_lets_the_move_end_well_and_the_result_still_tells_them(mixed, state):
    done = await migration.migrate(read(mixed), mixed.write(), job="j", options=AGREED, state_dir=state)

    assert (done.status, done.counts.listed, done.counts.stored) == (JobStatus.COMPLETED, 2, 2)
    for told in (done, migration.status("j", state_dir=state)):
        assert told.ignored == {"no_text": 40, "marker": 3}
        assert [(line.dimension, line.records, line.samples) for line in told.losses] == [
            ("ignored", 40, ("r100", "r101", "r102"))
        ]


async def test_a_rehearsal_tells_them_too(mixed, state):
    options = Options(accept_loss=("ignored",), dry_run=True)

    done = await migration.migrate(read(mixed), mixed.write(), options=options, state_dir=state)

    assert done.ignored == {"no_text": 40, "marker": 3}


async def test_rows_that_come_after_the_plan_stop_the_move_until_somebody_agrees(ends, state):
    ends.seed(3)
    ends.seed(1, start=50, kind="marker")
    plan = await migration.plan(read(ends), ends.write(), state_dir=state)
    ends.seed(40, start=100, kind="no_text")

    stopped = await migration.migrate(read(ends), ends.write(), plan=plan, job="j", state_dir=state)

    assert (stopped.status, stopped.cause) == (JobStatus.PAUSED, StopCause.DECISION)
    assert exits.code_of_result(stopped) == exits.DECISION
    assert "40 rows of" in stopped.message
    assert "`memxfer resume j --accept-loss ignored` goes on" in stopped.message
    assert migration.status("j", state_dir=state).message == stopped.message
    still = await migration.resume("j", source=read(ends), target=ends.write(), state_dir=state)
    assert still.cause == StopCause.DECISION
    done = await migration.resume(
        "j", source=read(ends), target=ends.write(), options=AGREED, state_dir=state
    )
    assert (done.status, done.ignored) == (JobStatus.COMPLETED, {"no_text": 40, "marker": 1})
    assert len(ends.target) == 3


@pytest.mark.parametrize("kind", ["marker", "no_text"])
async def test_a_source_with_nothing_else_counts_as_empty(ends, state, kind):
    ends.seed(4, kind=kind)

    result = await migration.migrate(read(ends), ends.write(), job="j", options=AGREED, state_dir=state)

    assert exits.code_of_result(result) == exits.INCOMPLETE
    assert "listed no memories, and rows that are none: 4 (" in result.message
    allowed = await migration.migrate(
        read(ends, allow_empty=True), ends.write(), job="k", options=AGREED, state_dir=state
    )
    assert exits.code_of_result(allowed) == exits.CLEAN
    assert allowed.ignored == {kind: 4}


async def test_a_plan_forecasts_what_the_run_ignores(mixed, state):
    plan = await migration.plan(read(mixed), mixed.write(), options=AGREED, state_dir=state)

    done = await migration.migrate(read(mixed), mixed.write(), plan=plan, job="j", state_dir=state)

    assert done.ignored == plan.forecast.ignored
    assert plan.report.rows == done.counts.listed + sum(done.ignored.values())


async def test_a_sample_counts_the_rows_of_the_pages_it_read_to_their_end(mixed, state):
    options = Options(sample=1, accept_loss=("ignored",))
    source = {"max_page": 1}
    first = await migration.migrate(
        read(mixed, **source), mixed.write(), job="j", options=options, state_dir=state
    )
    assert sum(first.ignored.values()) == 0

    rest = await migration.resume(
        "j", source=read(mixed, **source), target=mixed.write(), everything=True, state_dir=state
    )

    assert rest.ignored == {"no_text": 40, "marker": 3}
    assert rest.counts.stored == 2
