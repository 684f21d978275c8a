"""`plan` and `migrate(plan=...)`."""

import pytest

from memxfer import migration
from memxfer.errors import ConfigError, DecisionRequiredError, FingerprintMismatchError
from memxfer.migration import planning
from memxfer.models import Scope, Version
from memxfer.plan import JobPlan, PlanEnd

VERSIONED = {"versions": (Version(content="before"),)}


@pytest.mark.anyio
async def test_a_plan_writes_nothing_anywhere(ends, tmp_path):
    ends.seed(5)

    await migration.plan(ends.read(), ends.write(), state_dir=tmp_path / "state")

    assert len(ends.target) == 0
    assert not (tmp_path / "state").exists()


@pytest.mark.anyio
async def test_requests_money_and_time_are_counted(ends):
    ends.seed(25)
    target = ends.write(max_batch=10, unit_price=0.5, max_rate=2, acknowledges="async")

    plan = await migration.plan(ends.read(max_page=10), target)

    forecast = plan.forecast
    assert (forecast.read_requests, forecast.write_requests, forecast.status_requests) == (3, 3, 25)
    assert (forecast.cost, forecast.seconds) == (12.5, 14.0)
    assert [(place.scope, place.records, place.owners) for place in forecast.places] == [("user", 25, 1)]


@pytest.mark.anyio
async def test_without_a_rate_or_a_price_nothing_is_guessed(ends):
    ends.seed(3)

    forecast = (await migration.plan(ends.read(), ends.write())).forecast

    assert (forecast.cost, forecast.seconds) == (None, None)


@pytest.mark.anyio
@pytest.mark.parametrize(("residue", "kept"), [("lossy", 2), ("full", 5), ("off", 0)])
async def test_the_originals_that_will_be_kept_are_measured(ends, residue, kept):
    ends.seed(3)
    ends.seed(2, start=3, **VERSIONED)
    options = migration.Options(residue=residue, accept_loss=("all",))

    forecast = (await migration.plan(ends.read(), ends.write(drops=["versions"]), options=options)).forecast

    assert forecast.originals == kept
    assert (forecast.originals_bytes > 0) is bool(kept)


@pytest.mark.anyio
async def test_a_plan_is_made_without_consent_and_carried_out_only_with_it(ends, tmp_path):
    ends.seed(2, **VERSIONED)
    target = ends.write(drops=["versions"])

    plan = await migration.plan(ends.read(), target)

    with pytest.raises(DecisionRequiredError) as caught:
        await migration.migrate(ends.read(), target, plan=plan, state_dir=tmp_path)
    assert caught.value.remedies == ("--accept-loss versions",)
    assert len(ends.target) == 0
    options = migration.Options(accept_loss=("versions",))
    result = await migration.migrate(ends.read(), target, plan=plan, state_dir=tmp_path, options=options)
    assert result.counts.stored == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"store": "elsewhere"}, FingerprintMismatchError),
        ({"document_id": "my:{id}"}, FingerprintMismatchError),
        ({"content_bytes": 10}, DecisionRequiredError),
        ({"widening": "allow"}, DecisionRequiredError),
    ],
)
async def test_a_plan_is_about_one_move_and_its_decisions(ends, tmp_path, other, error):
    ends.seed(2)
    plan = await migration.plan(ends.read(), ends.write())
    changed = ends.write()
    changed.config = changed.config.model_copy(update=other)

    with pytest.raises(error):
        await migration.migrate(ends.read(), changed, plan=plan, state_dir=tmp_path)


@pytest.mark.anyio
async def test_tuning_and_prices_are_no_part_of_what_was_agreed(ends, tmp_path):
    ends.seed(2)
    plan = await migration.plan(ends.read(), ends.write())
    target = ends.write(max_rate=100, batch_size=1, unit_price=3)

    assert (await migration.migrate(ends.read(), target, plan=plan, state_dir=tmp_path)).counts.stored == 2


@pytest.mark.anyio
async def test_a_plan_that_was_written_and_read_moves_the_same(ends, tmp_path):
    ends.seed(2, **VERSIONED)
    ends.seed(3, start=2, scope=Scope(user="bob"))
    options = migration.Options(where="user=bob", residue="full")
    plan = await migration.plan(ends.read(), ends.write(drops=["versions"]), options=options)
    file = tmp_path / "plan.json"
    file.write_text(plan.to_file())

    result = await migration.migrate(
        ends.read(), ends.write(drops=["versions"]), plan=migration.read_plan(file), state_dir=tmp_path
    )

    assert (result.counts.listed, result.counts.stored) == (3, 3)
    assert {row.record.scope.user for row in ends.target.rows()} == {"bob"}


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read: No such file"):
        migration.read_plan(tmp_path / "none.json")


@pytest.mark.anyio
async def test_originals_without_room_stop_a_move_before_it_begins(ends, tmp_path, monkeypatch):
    ends.seed(2, **VERSIONED)
    monkeypatch.setattr(planning, "free_bytes", lambda folder: 1000)
    options = migration.Options(accept_loss=("all",))

    with pytest.raises(ConfigError, match=r"needs 64,000,\d+ bytes .* 1,000 bytes are free"):
        await migration.migrate(
            ends.read(), ends.write(drops=["versions"]), options=options, state_dir=tmp_path
        )
    assert len(ends.target) == 0


def test_a_disk_that_is_too_full_is_told_with_every_byte_that_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "free_bytes", lambda folder: 50_000_000)
    plan = JobPlan(
        job="j",
        created_at="2026-01-31T12:00:00Z",
        source=PlanEnd(connection="old", provider="memory", namespace="a"),
        target=PlanEnd(connection="new", provider="memory", namespace="b"),
        document_id="{id}",
    )

    with pytest.raises(ConfigError) as caught:
        planning.check_room(plan, tmp_path)

    assert str(caught.value) == (
        f"the disk of {tmp_path} is too full: this job needs 64,000,000 bytes there "
        "(64,000,000 bytes of room for its ledger), and 50,000,000 bytes are free; "
        "free 14,000,000 bytes, or name a folder on another disk with --state-dir"
    )


@pytest.mark.anyio
async def test_records_that_come_after_the_plan_are_moved_and_none_is_lost(ends, tmp_path):
    ends.seed(2)
    plan = await migration.plan(ends.read(), ends.write())
    ends.seed(3, start=2)

    result = await migration.migrate(ends.read(), ends.write(), plan=plan, state_dir=tmp_path)

    assert (plan.forecast.listed, result.counts.stored) == (2, 5)


@pytest.mark.anyio
async def test_neither_ends_nor_a_plan_is_said_plainly(tmp_path):
    with pytest.raises(ConfigError, match="no source is named"):
        await migration.migrate(state_dir=tmp_path)
