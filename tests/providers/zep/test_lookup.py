"""Finding again what was written, and removing it: by any process, with what a ledger holds."""

import time

import pytest

from memxfer.spi import RateLimitedError, Scope, UnsupportedOperationError
from tests.providers.zep.records import fact, staged, talk, text

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
async def staging(zep):
    return zep.staging(await zep.target())


# -- looking up ---------------------------------------------------------------------------------


async def write_all(zep, staging):
    """Write a fact, an episode and a turn of ann's, and a fact of bob's; return ids by key."""
    found = {}
    for one in (fact(0), text(1), talk(2), fact(3, user="bob")):
        [document] = await staged(staging, one)
        [receipt] = await staging.target.write([document])
        found[document.key] = receipt.target_ids
    return found


@pytest.mark.parametrize("filters", [True, False], ids=["filtered", "unfiltered"])
async def test_any_process_finds_what_is_there_in_every_form(zep, staging, filters):
    zep.configure(metadata_filters=filters)
    written = await write_all(zep, staging)
    assert await (await zep.target()).lookup([*written, "absent"]) == written
    assert await staging.target.lookup([*written, "absent"]) == written


async def test_a_key_that_was_prepared_costs_its_owner_s_graph_alone(zep, staging):
    written = await write_all(zep, staging)
    for number in range(5):
        zep.user(user_id=f"other-{number}")
    fresh = await zep.target()
    fresh.prepare(fact(3, user="bob"), "k:r3", {})
    before = len(zep.calls())
    assert await fresh.lookup(["k:r3"]) == {"k:r3": written["k:r3"]}
    assert len(zep.calls()) - before == 5  # open tasks of two kinds, the user, the facts, the episodes
    fresh.prepare(fact(7, user="nobody yet"), "k:r7", {})
    assert await fresh.lookup(["k:r7"]) == {}


async def test_groups_and_jobs_graphs_are_looked_into(zep):
    staging = zep.staging(await zep.target(container="graph-per-job", widening="allow"))
    [document] = await staged(staging, fact())
    [receipt] = await staging.target.write([document])
    for settings in ({"container": "graph-per-job", "widening": "allow", "write": "fact"}, {}):
        assert await (await zep.target(**settings)).lookup(["k:r0"]) == {"k:r0": receipt.target_ids}
    team = zep.staging(await zep.target())
    [document] = await staged(team, fact(1, scope=Scope(group="team")))
    [receipt] = await team.target.write([document])
    assert await team.target.lookup(["k:r1"]) == {"k:r1": receipt.target_ids}
    assert await (await zep.target()).lookup(["k:r1"]) == {"k:r1": receipt.target_ids}


async def test_more_keys_than_a_filter_takes_are_asked_for_in_parts(zep, staging):
    batch = await staged(staging, *(fact(n) for n in range(100)))
    await staging.target.write(batch)
    assert len(await staging.target.lookup([one.key for one in batch])) == 100


async def test_a_look_up_that_is_refused_says_so(zep, staging):
    await write_all(zep, staging)
    zep.break_with("/api/v4/graphs", preset="rate_limited")
    with pytest.raises(RateLimitedError):
        await staging.target.lookup(["k:r0"])


# -- deleting -----------------------------------------------------------------------------------


async def test_another_process_deletes_by_target_id_and_what_is_gone_is_no_error(zep, staging):
    written = await write_all(zep, staging)
    ids = [*written["k:r0"], *written["k:r1"], *written["k:r3"]]
    fresh = await zep.target()
    assert await fresh.delete(ids) == 3
    assert await fresh.delete(ids) == 0
    assert "edge" not in zep.counts()
    assert [one["source"] for one in zep.truth("episode")].count("text") == 0


async def test_containers_are_deleted_by_their_ids_with_all_that_is_in_them(zep, staging):
    await write_all(zep, staging)
    own = [staging.ids[name] for name in ("user:ann", "user:bob")]
    assert await (await zep.target()).delete(own) == 2
    assert zep.counts() == {}


async def test_a_job_s_graph_goes_with_one_delete(zep):
    staging = zep.staging(await zep.target(container="graph-per-job", widening="allow"))
    for one in (fact(0), text(1), fact(2, user="bob")):
        await staging.target.write(await staged(staging, one))
    assert zep.counts()["graph"] == 1
    assert "user" not in zep.counts()
    assert await staging.target.delete([staging.ids["graph:job"]]) == 1
    assert zep.counts() == {}


async def test_a_single_message_cannot_be_deleted_and_the_rest_is(zep, staging):
    written = await write_all(zep, staging)
    with pytest.raises(UnsupportedOperationError, match="delete their thread"):
        await staging.target.delete([*written["k:r2"], *written["k:r0"]])
    assert [one["fact"] for one in zep.truth("edge")] == ["fact 3"]
    assert await staging.target.delete([staging.ids["thread:ann/42"]]) == 1
    assert "message" not in zep.counts()


async def test_an_id_of_another_kind_is_an_error_and_no_request(zep, staging):
    before = len(zep.calls())
    with pytest.raises(UnsupportedOperationError):
        await staging.target.delete(["11111111-1111-4111-8111-111111111111"])
    assert len(zep.calls()) == before
