import json

import pytest

from memxfer import migration
from memxfer.cli.exits import code_of_result
from memxfer.errors import (
    AuthError,
    ConfigError,
    DecisionRequiredError,
    FingerprintMismatchError,
    InterruptedRunError,
    JobNotFoundError,
    UnavailableError,
)
from memxfer.migration import JobStatus, Options, StopSignal
from memxfer.models import Scope

pytestmark = pytest.mark.anyio

COUNTS = [
    *("listed", "accepted", "stored", "present", "skipped", "rejected", "failed"),
    *("in_flight", "uncertain", "gone"),
]


def add_up(counts):
    states = counts.model_dump()
    return states.pop("listed") == sum(states.values())


# -- diff -------------------------------------------------------------------------------------


async def test_diff_counts_and_writes_nothing(ends, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends.seed(12, tags=("x",))

    report = await migration.diff(ends.read(), ends.write(drops={"tags"}))

    (tags,) = [line for line in report.dimensions if line.dimension == "tags"]
    assert (report.scanned, report.total, report.blocking) == (12, 12, False)
    assert (tags.records, tags.verdict, tags.samples) == (12, "lost", ("r0", "r1", "r2"))
    assert len(ends.target) == 0
    assert ends.target.origins == []
    assert list(tmp_path.iterdir()) == []


async def test_diff_reads_no_more_than_it_was_asked_to(ends):
    ends.seed(30)

    report = await migration.diff(ends.read(max_page=4), ends.write(), options=Options(scan=10))

    assert (report.scanned, report.total) == (10, 30)


async def test_diff_looks_at_the_selected_records_only(ends):
    ends.seed(3)
    ends.seed(2, start=3, scope=Scope(user="bob"))

    report = await migration.diff(ends.read(), ends.write(), options=Options(where="user=bob"))

    assert report.scanned == 2


async def test_diff_counts_rows_that_cannot_be_read_and_goes_on(ends):
    class Damaged(type(ends.read())):
        def _decode(self, row, partition):
            if row.record.id == "r1":
                raise ValueError("private")
            return super()._decode(row, partition)

        def _row_id(self, row):
            return row.record.id

    ends.seed(3)

    report = await migration.diff(ends.read(kind=Damaged), ends.write())

    (risk,) = [line for line in report.dimensions if line.verdict == "at_risk"]
    assert (report.scanned, risk.records, risk.samples) == (2, 1, ("r1",))
    assert "private" not in report.model_dump_json()


async def test_diff_says_which_records_need_a_decision(ends):
    ends.seed(1)
    ends.seed(2, start=1, scope=Scope())

    report = await migration.diff(ends.read(), ends.write(required_axes={"user"}))

    (blocking,) = [line for line in report.dimensions if line.blocking]
    assert report.blocking
    assert (blocking.dimension, blocking.records, blocking.remedy) == ("user", 2, 'unscoped = "skip"')


async def test_an_empty_source_is_an_error_unless_that_is_right(ends, state):
    with pytest.raises(
        ConfigError,
        match=rf"the source holds no memories \(memory '{ends.source.name}'\).*allow_empty = true",
    ):
        await migration.diff(ends.read(), ends.write())
    with pytest.raises(ConfigError, match="allow_empty"):
        await migration.migrate(ends.read(), ends.write(), state_dir=state)

    report = await migration.diff(ends.read(allow_empty=True), ends.write())
    result = await migration.migrate(ends.read(allow_empty=True), ends.write(), state_dir=state)

    assert (report.scanned, report.total) == (0, 0)
    assert (result.status, result.counts.listed) == (JobStatus.COMPLETED, 0)


async def test_a_selection_that_takes_nothing_is_refused_unless_that_is_allowed(ends):
    ends.seed(2)
    options = Options(where="user=nobody")

    with pytest.raises(ConfigError, match="no memory meets --where 'user=nobody'"):
        await migration.diff(ends.read(), ends.write(), options=options)
    report = await migration.diff(ends.read(allow_empty=True), ends.write(), options=options)

    assert (report.scanned, report.total) == (0, 2)


# -- migrate ----------------------------------------------------------------------------------


async def test_migrate_moves_everything_and_its_json_is_the_contract(ends, state):
    ends.seed(25, tags=("x",))

    result = await migration.migrate(
        ends.read(max_page=10),
        ends.write(max_batch=5, drops={"tags"}),
        state_dir=state,
        job="move",
        options=Options(accept_loss=("tags",)),
    )

    data = json.loads(result.model_dump_json())
    assert list(data) == [
        "job",
        "status",
        "counts",
        "ignored",
        "documents",
        "resent",
        "losses",
        "residue",
        "seconds",
        "records_per_second",
    ]
    assert list(data["counts"]) == COUNTS
    assert (data["job"], data["status"], data["documents"], data["resent"]) == ("move", "completed", 25, 0)
    assert data["counts"] == {name: 25 if name in ("listed", "stored") else 0 for name in COUNTS}
    assert [(loss["dimension"], loss["records"]) for loss in data["losses"]] == [("tags", 25)]
    assert {record.id for record in ends.target.records} == {record.id for record in ends.source.records}
    assert ends.target.finished == 1
    assert migration.status("move", state_dir=state).counts == result.counts


@pytest.mark.parametrize(
    ("settings", "expected", "status"),
    [
        ({}, {"stored": 6}, JobStatus.COMPLETED),
        ({"refuses": {"r1", "r2"}}, {"stored": 4, "failed": 2}, JobStatus.COMPLETED_WITH_FAILURES),
        ({"content_bytes": 6}, {"stored": 5, "rejected": 1}, JobStatus.COMPLETED_WITH_FAILURES),
        ({"required_axes": {"agent"}, "unscoped": "skip"}, {"skipped": 5, "stored": 1}, JobStatus.COMPLETED),
    ],
)
async def test_the_states_of_records_add_up_whatever_becomes_of_them(ends, state, settings, expected, status):
    ends.seed(5)
    ends.seed(1, start=55, scope=Scope(user="u", agent="a"))

    result = await migration.migrate(ends.read(), ends.write(**settings), state_dir=state)

    found = {name: n for name, n in result.counts.model_dump().items() if n and name != "listed"}
    assert (found, result.counts.listed, result.status) == (expected, 6, status)
    assert add_up(result.counts)
    assert migration.status(result.job, state_dir=state).counts == result.counts


async def test_failures_are_told_in_order_with_key_code_and_reason(ends, state):
    ends.seed(4)
    result = await migration.migrate(ends.read(), ends.write(refuses={"r2", "r0"}), state_dir=state)

    found = list(migration.failures(result.job, state_dir=state))

    assert [(one.id, one.state, one.code, one.reason) for one in found] == [
        ("r0", "failed", "refused", "the store refuses this record"),
        ("r2", "failed", "refused", "the store refuses this record"),
    ]
    assert [one.key for one in found] == [f"mx:memory:{ends.source.name}:{name}" for name in ("r0", "r2")]
    assert result.message == f"`memxfer failures {result.job}` lists what did not arrive, and why"
    assert "message" not in result.model_dump()


async def test_a_loss_nobody_agreed_to_stops_before_anything_is_written(ends, state):
    ends.seed(3, tags=("x",))

    with pytest.raises(DecisionRequiredError) as caught:
        await migration.migrate(ends.read(), ends.write(drops={"tags"}), state_dir=state, job="move")

    assert caught.value.remedies == ("--accept-loss tags",)
    assert len(ends.target) == 0
    assert not state.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(accept_loss=("colour",)), "--accept-loss: no dimension or group 'colour'"),
        (Options(where="colour=red"), "--where: no field 'colour'"),
    ],
)
async def test_a_wrong_option_is_told_before_any_end_is_opened(ends, state, options, said):
    with pytest.raises(ConfigError, match=said):
        await migration.migrate("nobody", "nobody", state_dir=state, options=options)


async def test_a_dry_run_writes_nothing_at_all(ends, state):
    ends.seed(3, tags=("x",))

    result = await migration.migrate(
        ends.read(),
        ends.write(drops={"tags"}),
        state_dir=state,
        job="move",
        options=Options(dry_run=True, accept_loss=("all",)),
    )

    assert (result.job, result.status, result.counts.listed) == ("move", JobStatus.COMPLETED, 0)
    assert [line.dimension for line in result.losses] == ["tags"]
    assert "nothing was written" in result.message
    assert len(ends.target) == 0
    assert ends.target.origins == []
    assert not state.exists()


async def test_a_job_name_is_taken_once_and_must_name_a_folder(ends, state):
    ends.seed(1)
    await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")

    with pytest.raises(ConfigError, match=r"job 'move' is there already; `memxfer resume move` goes on"):
        await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")
    with pytest.raises(ConfigError, match="cannot be a job's name"):
        await migration.migrate(ends.read(), ends.write(), state_dir=state, job="../move")


async def test_a_job_without_a_name_gets_one_from_its_ends(ends, state):
    ends.seed(1)

    result = await migration.migrate(ends.read(), ends.write(), state_dir=state)

    assert result.job.startswith("memory-to-memory-2")
    assert [job.job for job in migration.list_jobs(state)] == [result.job]


async def test_a_stop_before_the_move_writes_nothing(ends, state):
    ends.seed(3)
    stop = StopSignal()
    stop.request()

    with pytest.raises(InterruptedRunError, match="interrupted while reading; nothing was written"):
        await migration.migrate(ends.read(), ends.write(), state_dir=state, stop=stop)

    assert len(ends.target) == 0
    assert not state.exists()


@pytest.mark.parametrize("part", ["count", "partitions", "_read_page"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuthError, "connection memory: it says no"),
        (UnavailableError, "connection memory: it says no"),
    ],
)
async def test_a_source_that_fails_while_it_is_looked_at_is_named(ends, clock, part, error, said):
    ends.seed(3)
    source = ends.read(clock=clock, retry={"attempts": 2})

    async def fail(*args):
        raise error("it says no")

    async def fail_listing():
        raise error("it says no")
        yield

    setattr(source, part, fail_listing if part == "partitions" else fail)

    with pytest.raises(error, match=said):
        await migration.diff(source, ends.write())


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_wrong_setting_met_in_mid_job_is_a_matter_of_configuration(ends, state, side):
    ends.seed(40)

    class Unset(type(ends.write())):
        calls = 0

        async def _met(self):
            Unset.calls += 1
            if Unset.calls == 3:
                raise ConfigError("ca_file: no such file")

        async def _write(self, batch):
            await self._met()
            return await super()._write(batch)

        async def _read_page(self, *arguments):
            await self._met()
            return await super()._read_page(*arguments)

    read = ends.read(max_page=5, kind=Unset) if side == "source" else ends.read(max_page=5)
    write = ends.write(max_batch=5, kind=Unset) if side == "target" else ends.write(max_batch=5)
    options = migration.Options(writers=1, scan=1)
    first = await migration.migrate(read, write, state_dir=state, job="move", options=options)

    assert (first.status, first.cause) == (JobStatus.PAUSED, "config")
    assert code_of_result(first) == 2
    assert "ca_file: no such file. Fix that first; then `memxfer resume move` goes on" in first.message
    last = await migration.resume("move", state_dir=state, source=ends.read(), target=ends.write())
    assert (last.status, len(ends.target)) == (JobStatus.COMPLETED, 40)


# -- resume -----------------------------------------------------------------------------------


async def test_a_finished_job_stays_as_it_is_when_resumed(ends, state):
    ends.seed(7)
    first = await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")

    again = await migration.resume("move", state_dir=state, source=ends.read(), target=ends.write())

    assert (again.counts, again.status, again.documents) == (first.counts, JobStatus.COMPLETED, 7)
    assert set(ends.target.attempts.values()) == {1}


async def test_a_job_that_stopped_goes_on_where_it_was(ends, state):
    ends.seed(40)
    stop = StopSignal()

    class Stopping(type(ends.write())):
        async def _write(self, batch):
            stop.request()
            return await super()._write(batch)

    first = await migration.migrate(
        ends.read(max_page=5), ends.write(kind=Stopping, max_batch=5), state_dir=state, job="move", stop=stop
    )
    between = migration.status("move", state_dir=state)
    last = await migration.resume(
        "move", state_dir=state, source=ends.read(max_page=5), target=ends.write(max_batch=5)
    )

    assert (first.status, first.cause) == (JobStatus.INTERRUPTED, "interrupted")
    assert "`memxfer resume move` goes on" in first.message
    assert (between.status, between.counts) == (first.status, first.counts)
    assert add_up(first.counts)
    assert first.counts.stored < 40
    assert (last.status, last.counts.listed, last.counts.stored) == (JobStatus.COMPLETED, 40, 40)
    assert len(ends.target) == len(set(ends.target.keys)) == 40


async def test_a_job_is_not_resumed_for_another_move(ends, state):
    ends.seed(2)
    await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")

    target = f"memory:{ends.target.name}-other"
    with pytest.raises(FingerprintMismatchError, match="target: was"):
        await migration.resume("move", state_dir=state, source=ends.read(), target=target)
    with pytest.raises(FingerprintMismatchError, match="document_id: was"):
        await migration.resume(
            "move", state_dir=state, source=ends.read(), target=ends.write(document_id="{id}")
        )


@pytest.mark.parametrize("where", ["metadata.a,,b=1,,2", "user!=nobody", "metadata.deep key != x"])
async def test_a_selection_is_the_same_on_resume_however_it_is_written(ends, state, where):
    ends.seed(2, metadata={"a,b": "1,2"})
    options = Options(where=where)
    first = await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move", options=options)

    again = await migration.resume("move", state_dir=state, source=ends.read(), target=ends.write())

    assert again.counts == first.counts


async def test_what_is_no_job_cannot_be_resumed(state):
    with pytest.raises(JobNotFoundError, match="no job 'gone'"):
        await migration.resume("gone", state_dir=state)
