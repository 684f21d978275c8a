"""Consent covers the move: what a scan did not see stops the job before it is sent."""

import json

import msgspec
import pytest

from memxfer import migration
from memxfer.cli import exits
from memxfer.engine.control import StopCause
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.ids import fingerprint
from memxfer.migration import JobStatus, Options
from memxfer.models import Scope
from memxfer.plan import JobPlan
from memxfer.spi import Document
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

DROPS = {"drops": ["tags"]}
LOSSY = {"tags": ("a", "b")}


def sealed(plan, **changes):
    """The plan as somebody would forge it: changed, and sealed again."""
    content = {**json.loads(plan.to_file()), **changes}
    for name in ("memxfer", "seal"):
        content.pop(name)
    mark = content.pop("fingerprint")
    head = {"memxfer": "plan", "fingerprint": mark, "seal": fingerprint(content)}
    return JobPlan.from_file(json.dumps({**head, **content}), "forged")


async def planned(ends, state):
    """A plan was made before the lossy records came."""
    plan = await migration.plan(ends.read(), ends.write(**DROPS), state_dir=state)
    ends.seed(5, start=10, **LOSSY)
    return await migration.migrate(ends.read(), ends.write(**DROPS), plan=plan, job="j", state_dir=state)


async def changed(ends, state):
    """The same ids, and other records."""
    plan = await migration.plan(ends.read(), ends.write(**DROPS), state_dir=state)
    for row in list(ends.source.rows()):
        ends.source.replace(row, msgspec.structs.replace(row.record, **LOSSY))
    return await migration.migrate(ends.read(), ends.write(**DROPS), plan=plan, job="j", state_dir=state)


async def scanned_in_part(ends, state):
    ends.seed(5, start=10, **LOSSY)
    options = Options(scan=3)
    return await migration.migrate(
        ends.read(), ends.write(**DROPS), job="j", options=options, state_dir=state
    )


async def sampled_and_resumed(ends, state):
    options = Options(sample=5, scan=3)
    ends.seed(5, start=10, **LOSSY)
    await migration.migrate(ends.read(), ends.write(**DROPS), job="j", options=options, state_dir=state)
    return await migration.resume(
        "j", source=ends.read(), target=ends.write(**DROPS), everything=True, state_dir=state
    )


async def forged(ends, state):
    ends.seed(5, start=10, **LOSSY)
    plan = await migration.plan(ends.read(), ends.write(**DROPS), state_dir=state)
    lines = [line for line in json.loads(plan.to_file())["report"]["dimensions"] if not line["records"]]
    report = {**json.loads(plan.to_file())["report"], "dimensions": lines}
    plan = sealed(plan, losses=[], report=report)
    return await migration.migrate(ends.read(), ends.write(**DROPS), plan=plan, job="j", state_dir=state)


async def dropping_since(ends, state):
    """The target drops tags since the job began, and that setting was agreed to by name."""
    ends.seed(5, start=10, **LOSSY)
    await migration.migrate(ends.read(), ends.write(), job="j", options=Options(sample=5), state_dir=state)
    return await migration.resume(
        "j",
        source=ends.read(),
        target=ends.write(**DROPS),
        everything=True,
        options=Options(accept_decisions=("drops",)),
        state_dir=state,
    )


WAYS = [planned, changed, scanned_in_part, sampled_and_resumed, forged, dropping_since]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("word", ["tags", "content", "all"])
async def test_a_loss_first_met_in_the_move_stops_it_and_goes_on_after_consent(ends, state, way, word):
    ends.seed(5)

    stopped = await way(ends, state)

    assert (stopped.status, stopped.cause) == (JobStatus.PAUSED, StopCause.DECISION)
    assert exits.code_of_result(stopped) == exits.DECISION
    assert "tags: " in stopped.message
    assert "`memxfer resume j --accept-loss tags` goes on" in stopped.message
    assert not any(record.id in lossy_ids(ends) for record in ends.target.records)
    assert {row.state for row in migration.failures("j", state_dir=state)} == set()
    seen = migration.status("j", state_dir=state)
    assert (seen.status, seen.cause, seen.message) == (stopped.status, stopped.cause, stopped.message)

    target = ends.write(**DROPS)
    still = await migration.resume("j", source=ends.read(), target=target, state_dir=state)
    assert still.status is JobStatus.PAUSED
    options = Options(accept_loss=(word,))
    done = await migration.resume("j", source=ends.read(), target=target, options=options, state_dir=state)

    assert done.status is JobStatus.COMPLETED, done.message
    assert done.counts.listed == done.counts.stored == len(ends.source) == len(ends.target)
    for told in (done, migration.status("j", state_dir=state)):
        assert [(line.dimension, line.records) for line in told.losses] == [("tags", 5)]
    again = await migration.resume("j", source=ends.read(), target=target, state_dir=state)
    assert again.status is JobStatus.COMPLETED


def lossy_ids(ends):
    return {record.id for record in ends.source.records if record.tags}


async def test_consent_to_something_else_does_not_help(ends, state):
    ends.seed(5)
    await planned(ends, state)
    options = Options(accept_loss=("versions", "identity"))

    result = await migration.resume(
        "j", source=ends.read(), target=ends.write(**DROPS), options=options, state_dir=state
    )

    assert result.status is JobStatus.PAUSED
    assert not any(record.id in lossy_ids(ends) for record in ends.target.records)


async def test_everything_missing_of_a_page_is_told_at_once(ends, state):
    target = {"drops": ["tags", "kind"], "required_axes": ["user"]}
    ends.seed(3)
    plan = await migration.plan(ends.read(), ends.write(**target), state_dir=state)
    ends.seed(1, start=10, kind="event")
    ends.seed(1, start=11, **LOSSY)
    ends.seed(1, start=12, scope=Scope())

    result = await migration.migrate(ends.read(), ends.write(**target), plan=plan, job="j", state_dir=state)

    assert all(f"{dimension}: " in result.message for dimension in ("kind", "tags", "user"))
    assert "--accept-decision unscoped --accept-loss kind,tags` goes on" in result.message
    assert {line.dimension for line in result.losses} == {"kind", "tags", "user"}


async def test_without_originals_what_is_only_approximated_stops_the_move_too(ends, state):
    ends.seed(3)
    options = Options(residue="off")
    plan = await migration.plan(ends.read(), ends.write(**DROPS), state_dir=state, options=options)
    ends.seed(1, start=10, **LOSSY)

    result = await migration.migrate(ends.read(), ends.write(**DROPS), plan=plan, job="j", state_dir=state)

    assert result.cause == StopCause.DECISION
    assert "nothing keeps it" in result.message


async def test_a_plan_without_a_report_is_refused(ends, state):
    ends.seed(5, **LOSSY)
    plan = await migration.plan(ends.read(), ends.write(**DROPS), state_dir=state)

    with pytest.raises(ConfigError, match="no gap report"):
        await migration.migrate(
            ends.read(), ends.write(**DROPS), plan=sealed(plan, report=None, losses=[]), state_dir=state
        )

    assert len(ends.target) == 0


async def test_a_decision_first_missing_in_the_move_stops_it_and_is_taken_by_name(ends, state):
    ends.seed(4)
    needs = {"required_axes": ["user"]}
    plan = await migration.plan(ends.read(), ends.write(**needs), state_dir=state)
    ends.seed(1, start=10, scope=Scope())
    stopped = await migration.migrate(ends.read(), ends.write(**needs), plan=plan, job="j", state_dir=state)

    assert stopped.cause == StopCause.DECISION
    assert 'unscoped = "skip"' in stopped.message
    assert "`memxfer resume j --accept-decision unscoped` goes on" in stopped.message
    decided = ends.write(**needs, unscoped="skip")
    with pytest.raises(DecisionRequiredError, match="unscoped was unset and is skip") as caught:
        await migration.resume("j", source=ends.read(), target=decided, state_dir=state)
    assert caught.value.remedies[0] == "memxfer resume j --accept-decision unscoped"
    options = Options(accept_decisions=("unscoped",))
    done = await migration.resume("j", source=ends.read(), target=decided, options=options, state_dir=state)
    assert (done.status, done.counts.stored, done.counts.skipped) == (JobStatus.COMPLETED, 4, 1)
    same = await migration.resume("j", source=ends.read(), target=decided, state_dir=state)
    assert same.status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    "now", [{"widening": "allow"}, {"drops": ["user"], "widening": "allow"}, {"oversize": "skip"}]
)
async def test_a_job_does_not_go_on_under_other_decisions_unasked(ends, state, now):
    ends.seed(6)
    await migration.migrate(ends.read(), ends.write(), job="j", options=Options(sample=2), state_dir=state)

    with pytest.raises(DecisionRequiredError) as caught:
        await migration.resume(
            "j", source=ends.read(), target=ends.write(**now), everything=True, state_dir=state
        )

    assert all(name in str(caught.value) for name in now)
    assert len(ends.target) == 2


async def test_a_decision_that_the_connection_does_not_know_is_refused(ends, state):
    ends.seed(3)
    await migration.migrate(ends.read(), ends.write(), job="j", state_dir=state)

    with pytest.raises(ConfigError, match=r"--accept-decision: .* 'unscopd'"):
        await migration.resume(
            "j",
            source=ends.read(),
            target=ends.write(),
            options=Options(accept_decisions=("unscopd",)),
            state_dir=state,
        )


class Townhall(MemoryReferenceProvider):
    """Tells owners apart by their user alone, whatever tenant they belong to."""

    def _prepare(self, record, key, envelope):
        prepared = super()._prepare(record, key, envelope)
        if not isinstance(prepared, Document):
            return prepared
        return msgspec.structs.replace(prepared, owner=Scope(user=record.scope.user))


def tenant(name):
    return {"scope": Scope(user="ann", tenant=name)}


@pytest.mark.parametrize("is_resumed", [False, True])
async def test_owners_that_become_one_only_in_the_move_stop_it(ends, state, is_resumed):
    ends.seed(4, **tenant("one"))
    options = Options(sample=3 if is_resumed else None)
    plan = await migration.plan(ends.read(), ends.write(kind=Townhall), state_dir=state, options=options)
    if not is_resumed:
        ends.seed(2, start=10, **tenant("two"))
    target = ends.write(kind=Townhall)
    result = await migration.migrate(ends.read(), target, plan=plan, job="j", state_dir=state)
    if is_resumed:
        ends.seed(2, start=10, **tenant("two"))
        result = await migration.resume(
            "j", source=ends.read(), target=target, everything=True, state_dir=state
        )

    assert result.cause == StopCause.DECISION
    assert 'widening = "allow"' in result.message
    assert "belong to 2 owners that become 1" in result.message
    assert {record.scope.tenant for record in ends.target.records} <= {"one"}
    open_to_all = ends.write(kind=Townhall, widening="allow")
    options = Options(accept_decisions=("widening",))
    done = await migration.resume(
        "j", source=ends.read(), target=open_to_all, options=options, state_dir=state
    )
    assert done.counts.stored == len(ends.source)


@pytest.mark.parametrize("sample", [None, 1])
async def test_a_key_that_is_taken_is_told_and_what_has_it_is_not_overwritten(ends, state, sample):
    target = {"document_id": "{user}", "client_key": "upsert"}
    ends.seed(1, scope=Scope(user="ann"))
    ends.seed(1, start=1, scope=Scope(user="bob"))
    plan = await migration.plan(
        ends.read(), ends.write(**target), state_dir=state, options=Options(sample=sample)
    )
    ends.seed(1, start=2, scope=Scope(user="ann"))

    result = await migration.migrate(ends.read(), ends.write(**target), plan=plan, job="j", state_dir=state)
    if sample:
        result = await migration.resume(
            "j", source=ends.read(), target=ends.write(**target), everything=True, state_dir=state
        )

    assert result.status is JobStatus.COMPLETED_WITH_FAILURES
    assert [(row.id, row.code) for row in migration.failures("j", state_dir=state)] == [
        ("r2", "duplicate_key")
    ]
    assert {record.id for record in ends.target.records} == {"r0", "r1"}


async def test_nothing_moved_is_not_a_clean_end(ends, state):
    ends.seed(3)
    plan = await migration.plan(
        ends.read(), ends.write(), state_dir=state, options=Options(where="user=alice")
    )
    for row in list(ends.source.rows()):
        ends.source.replace(row, msgspec.structs.replace(row.record, scope=Scope(user="bob")))

    result = await migration.migrate(ends.read(), ends.write(), plan=plan, job="j", state_dir=state)

    assert result.status is JobStatus.INCOMPLETE
    assert "no memory meets --where 'user=alice'" in result.message
    assert exits.code_of_result(result) == exits.INCOMPLETE


@pytest.mark.parametrize("verb", [migration.plan, migration.migrate, migration.diff])
async def test_a_selection_without_a_hit_is_refused_unless_the_source_may_be_empty(ends, state, verb):
    ends.seed(3)
    options = Options(where="user=alise")

    with pytest.raises(ConfigError, match=r"no memory meets --where 'user=alise'.*allow_empty"):
        await verb(ends.read(), ends.write(), options=options, state_dir=state)

    assert len(ends.target) == 0
    assert not state.exists() or not list(state.glob("jobs/*"))
    await verb(ends.read(allow_empty=True), ends.write(), options=options, state_dir=state)


@pytest.mark.parametrize("numbers", [{"sample": 0}, {"sample": -3}, {"scan": 0}, {"writers": 0}])
def test_numbers_below_one_are_wrong_usage(numbers):
    with pytest.raises(ConfigError, match=f"{next(iter(numbers))} = "):
        Options(**numbers)
