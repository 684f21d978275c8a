"""An identity file: counted, kept in the residue, and part of what a job is."""

import pytest

from memxfer import migration
from memxfer.archive import ArchiveReader
from memxfer.errors import FingerprintMismatchError
from memxfer.models import Scope


@pytest.fixture
def people(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("user,agent,to_user\nold-ann,,ann\n,helper,ann\n")
    return file


def seed(ends):
    ends.seed(2, scope=Scope(user="old-ann"))
    ends.seed(3, start=2, scope=Scope(user="bob"))
    ends.seed(1, start=5, scope=Scope(agent="helper"))


@pytest.mark.anyio
async def test_records_land_with_their_new_owners_under_their_old_keys(ends, people, tmp_path):
    seed(ends)

    result = await migration.migrate(ends.read(), ends.write(identity=people), state_dir=tmp_path, job="j")

    owners = {row.key.rpartition(":")[2]: row.record.scope.user for row in ends.target.rows()}
    assert owners == {"r0": "ann", "r1": "ann", "r2": "bob", "r3": "bob", "r4": "bob", "r5": "ann"}
    (line,) = [line for line in result.losses if line.dimension == "user"]
    assert (line.records, line.verdict) == (3, "approximated")
    originals = ArchiveReader(tmp_path / "jobs" / "j" / "residue").records()
    assert {one.record.id: one.record.scope.user for one in originals} == {
        "r0": "old-ann",
        "r1": "old-ann",
        "r5": None,
    }


@pytest.mark.anyio
async def test_owners_that_the_file_makes_one_are_a_decision_and_no_accident(ends, people):
    seed(ends)

    report = await migration.diff(ends.read(), ends.write(identity=people, drops=["tenant"]))

    assert not report.blocking


@pytest.mark.anyio
async def test_a_job_goes_on_under_the_same_file_only(ends, people, tmp_path):
    seed(ends)
    plan = await migration.plan(ends.read(), ends.write(identity=people))
    people.write_text(people.read_text() + "bob,,rob\n")

    with pytest.raises(FingerprintMismatchError, match="identity: was"):
        await migration.migrate(ends.read(), ends.write(identity=people), plan=plan, state_dir=tmp_path)
    with pytest.raises(FingerprintMismatchError, match="identity: was"):
        await migration.migrate(ends.read(), ends.write(), plan=plan, state_dir=tmp_path)
