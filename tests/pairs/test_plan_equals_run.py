"""A plan's counts are those of the run: for every provider as source and every provider as target."""

import pytest

from memxfer import migration
from tests.pairs.conftest import DECIDED, PAIRS
from tests.pairs.population import population

ACCEPT = migration.Options(accept_loss=("all",))


@pytest.mark.anyio
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
async def test_a_plan_counts_what_the_run_then_does(pairs, source, target, tmp_path):
    full = await pairs.source(source, list(population(300)))
    empty = pairs.target(target, **DECIDED[target])

    plan = await migration.plan(full, empty, options=ACCEPT)
    result = await migration.migrate(full, empty, plan=plan, state_dir=tmp_path / "state")

    counts, forecast = result.counts, plan.forecast
    assert forecast is not None
    assert forecast.listed == counts.listed > 250
    assert forecast.documents == counts.stored + counts.accepted + counts.present
    assert sum(forecast.skipped.values()) == counts.skipped
    assert sum(forecast.rejected.values()) == counts.rejected
    assert counts.failed == counts.uncertain == counts.gone == 0
    assert sum(place.records for place in forecast.places) == forecast.documents
