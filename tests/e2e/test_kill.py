"""kill -9 at random moments, then resume: nothing lost, nothing stored twice, little sent again."""

from __future__ import annotations

import random

import pytest

ACCEPT = ("--accept-loss", "all", "--yes")
RECORDS, KILLS = 1_500, 4
ALL_RECORDS, ALL_KILLS = 10_000, 25


def _move_with_kills(
    stage, fill, *, records: int, kills: int, policy: str, transport: str, seed: int
) -> dict:
    chance = random.Random(seed)
    fill(stage.folder / "source", records)
    stage.configure(transport=transport, batch_size=20)
    stage.server.admin.configure(duplicate_policy=policy, latency_seconds=0.01)
    in_flight = killed = 0
    words = ("migrate", "old", "new", "--job", "j", *ACCEPT)
    while killed < kills:
        before = stage.truth()["received"]
        polls = stage.truth()["requests"].get("GET /api/v1/memories/status/{ingestion_id}", 0)
        more = chance.randrange(1, max(2, 2 * records // kills))
        process = stage.start(*words, "-q")

        def is_time(before=before, polls=polls, more=more) -> bool:
            truth = stage.truth()
            asked = truth["requests"].get("GET /api/v1/memories/status/{ingestion_id}", 0)
            return truth["received"] + asked >= before + polls + more

        if stage.kill_when(process, is_time):
            killed += 1
            in_flight += stage.intents("j")
        else:
            break
        if (stage.folder / ".memxfer/jobs/j/plan.json").exists():
            words = ("resume", "j")
    code, result, err = stage.run("resume", "j")
    return {"code": code, "result": result, "err": err, "in_flight": in_flight, "killed": killed}


def _check(stage, run: dict, *, records: int, policy: str) -> None:
    truth = stage.truth()
    counts = run["result"]["counts"]
    assert run["code"] == 0, run["err"]
    assert truth["distinct_ids"] == records
    assert truth["stored_twice"] == 0
    assert counts["listed"] == records
    assert counts["stored"] + counts["present"] == records
    assert counts["failed"] == counts["uncertain"] == counts["accepted"] == 0
    assert run["result"]["resent"] <= run["in_flight"]
    if policy != "conflict":  # there, finding the refused ones in a batch takes requests of its own
        assert truth["received"] - records <= run["in_flight"]
    if policy in ("update", "echo"):
        assert counts["stored"] == records


@pytest.mark.parametrize("transport", ["sdk", "http"])
@pytest.mark.parametrize("policy", ["update", "conflict"])
def test_a_few_kills_lose_nothing_and_store_nothing_twice(stage, fill, policy, transport) -> None:
    run = _move_with_kills(
        stage, fill, records=RECORDS, kills=KILLS, policy=policy, transport=transport, seed=11
    )

    assert run["killed"] == KILLS, stage.last_words
    _check(stage, run, records=RECORDS, policy=policy)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("policy", ["update", "echo", "row_error", "conflict"])
def test_25_kills_over_10000_records_with_the_real_sdk(stage, fill, policy) -> None:
    run = _move_with_kills(
        stage, fill, records=ALL_RECORDS, kills=ALL_KILLS, policy=policy, transport="sdk", seed=2026
    )
    truth = stage.truth()
    print(
        f"\n{policy}: {run['killed']} kills, {truth['received'] - ALL_RECORDS} documents received again, "
        f"{run['in_flight']} were in flight; counts {run['result'].get('counts')}"
    )

    _check(stage, run, records=ALL_RECORDS, policy=policy)
