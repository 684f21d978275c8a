"""Every job has an end, and says which: across runs, as a user sees it."""

import pytest

from memxfer import migration
from memxfer.cli.exits import code_of_result
from memxfer.errors import UnavailableError
from memxfer.migration import JobStatus
from memxfer.models import Scope
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

ONCE = {"attempts": 1}


class Falling(MemoryReferenceProvider):
    """Answers 503 from some page on."""

    reads = 0
    falls_at = 0

    async def _read_page(self, partition, cursor, limit):
        kind = type(self)
        kind.reads += 1
        if kind.falls_at and kind.reads >= kind.falls_at:
            raise UnavailableError("503", provider="memory", status=503)
        return await super()._read_page(partition, cursor, limit)


def falling(**attributes):
    return type("Falls", (Falling,), attributes)


async def test_a_job_whose_partition_vanished_ends_names_it_and_goes_on_when_it_comes_back(ends, state):
    kind = falling()
    ends.seed(6, scope=Scope(user="ann"))
    ends.seed(6, start=6, scope=Scope(user="bob"))
    settings = {"split_by": "user", "max_page": 3, "retry": ONCE, "kind": kind}
    report = await migration.plan(ends.read(**settings), ends.write())
    kind.reads, kind.falls_at = 0, 2
    first = await migration.migrate(
        ends.read(**settings), ends.write(), plan=report, state_dir=state, job="j"
    )
    assert first.status is JobStatus.PAUSED
    kind.falls_at = 0
    for number in range(6):
        ends.source.remove(f"r{number}")

    for _ in range(2):
        result = await migration.resume(
            "j", source=ends.read(**settings), target=ends.write(), state_dir=state
        )
        assert (result.status, code_of_result(result)) == (JobStatus.COMPLETED_WITH_FAILURES, 1)
        assert "user:ann" in result.message
        assert "`memxfer resume j` reads the rest" in result.message

    ends.seed(6, scope=Scope(user="ann"))
    result = await migration.resume("j", source=ends.read(**settings), target=ends.write(), state_dir=state)

    assert (result.status, result.message) == (JobStatus.COMPLETED, "")
    assert {record.id for record in ends.target.records} == {f"r{number}" for number in range(12)}


async def test_rows_that_are_counted_and_never_listed_are_told_by_number_and_read_again_when_that_changes(
    ends, state
):
    kind = falling(count=lambda self: _more(self, kind))
    kind.hidden = 3
    ends.seed(10)
    settings = {"max_page": 5, "kind": kind}

    results = [await migration.migrate(ends.read(**settings), ends.write(), state_dir=state, job="j")]
    reads = kind.reads
    for _ in range(2):
        results.append(
            await migration.resume("j", source=ends.read(**settings), target=ends.write(), state_dir=state)
        )

    assert kind.reads == reads
    for result in results:
        assert (result.status, code_of_result(result)) == (JobStatus.INCOMPLETE, 5)
        assert "the source counts 13 rows and has listed 10" in result.message
        assert "hides 3 from its listing" in result.message

    kind.hidden = 0
    result = await migration.resume("j", source=ends.read(**settings), target=ends.write(), state_dir=state)
    assert result.status is JobStatus.COMPLETED


async def _more(provider, kind):
    return len(provider.data) + kind.hidden


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("sample", [4, 50])
async def test_a_sample_that_broke_off_and_goes_on_to_everything_ends_complete(ends, state, counts, sample):
    kind = falling() if counts else falling(count=None)
    ends.seed(20)
    settings = {"max_page": 5, "listing": "offset", "retry": ONCE, "kind": kind}
    options = migration.Options(sample=sample)
    plan = await migration.plan(ends.read(**settings), ends.write(), options=options)
    kind.reads, kind.falls_at = 0, 2
    await migration.migrate(ends.read(**settings), ends.write(), plan=plan, state_dir=state, job="j")
    kind.falls_at = 0
    ends.source.remove("r19")

    ends_of = {"source": ends.read(**settings), "target": ends.write(), "state_dir": state}
    result = await migration.resume("j", everything=True, **ends_of)

    assert result.status is JobStatus.COMPLETED
    assert {f"r{number}" for number in range(19)} <= {record.id for record in ends.target.records}
