"""A probe of a Zep project: it writes into a user of its own, and nothing of it is left."""

import pytest

from memxfer import migration
from memxfer.migration import ClaimVerdict

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("write", ["auto", "episode"])
@pytest.mark.parametrize("container", ["owner", "graph-per-job"])
async def test_a_probe_confirms_what_is_declared_and_leaves_nothing(zep, tmp_path, write, container):
    zep.user(user_id="ann")
    before = zep.counts()
    # a target alone: the unit that is read need not be what is written
    settings = {"write": write, "container": container, "widening": "allow", "undated": "send"}
    report = await migration.probe(
        zep.provider(unit="episodes" if write == "episode" else "facts", **settings), state_dir=tmp_path
    )

    assert (report.status, report.leftovers) == ("completed", ())
    assert [claim for claim in report.claims if claim.verdict is ClaimVerdict.DOWNGRADED] == []
    after = zep.counts()
    assert {kind: after.get(kind) for kind in before if kind != "task"} == {
        kind: count for kind, count in before.items() if kind != "task"
    }
    assert not {"edge", "episode", "thread", "message"} & after.keys()
