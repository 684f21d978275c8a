"""Every provider to every other: two hundred memories each, and then what is really there."""

import pytest

from memxfer import migration
from memxfer.models import RecordState, Scope, Validity
from memxfer.spi import Role
from memxfer.testing.conformance.driver import opened, read_records
from tests.pairs.conftest import DECIDED, PAIRS
from tests.pairs.population import BORN, record
from tests.pairs.truth import differences, expected, rows_of

COUNT = 200
USERS = ("ann", "bob/ü@example.org", "Ann", "user-7")


def tame(number):
    """Return a memory that every target takes."""
    user = USERS[number % len(USERS)]
    changes = {
        "scope": Scope(user=user),
        "metadata": {"topic": "tea", "number": number, "hot": number % 2 == 0},
    }
    if number % 10 == 3:
        changes["validity"] = Validity(valid_from=BORN, recorded_at=BORN)
    if number % 10 == 5:
        changes |= {"kind": "preference", "tags": ("food",)}
    if number % 10 == 7:
        changes |= {"state": RecordState.SUPERSEDED, "validity": Validity(valid_from=BORN, valid_to=BORN)}
    return record("a matter", number, **changes)


@pytest.mark.anyio
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
async def test_what_is_in_the_target_is_what_was_in_the_source(pairs, source, target, tmp_path):
    full = await pairs.source(source, [tame(number) for number in range(COUNT)])
    async with opened(lambda: full, Role.SOURCE) as reading:
        before = await read_records(reading)
    assert len(before) == COUNT

    result = await migration.migrate(
        full,
        pairs.target(target, **DECIDED[target]),
        state_dir=tmp_path / "state",
        options=migration.Options(accept_loss=("all",)),
    )

    skipped = set() if result.counts.skipped == 0 else {one.id for one in before if not one.scope.user}
    assert result.counts.skipped == len(skipped)
    assert result.counts.stored + result.counts.accepted + result.counts.present == COUNT - len(skipped)
    wanted = [expected(target, one) for one in before if one.id not in skipped]
    assert differences(rows_of(pairs, target), wanted) == ""
