"""Every fault a Synap instance can show, on both transports: no loss, no double storage, right counts."""

from __future__ import annotations

import pytest

import memxfer
from memxfer.migration import Options
from memxfer_archive import ArchiveProvider
from memxfer_synap import SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY

RECORDS = 240
BATCH = "/api/v1/memories/batch"
STATUS = "/api/v1/memories/status"


def _rule(action: dict, *, path: str = BATCH, **match) -> dict:
    return {"name": "fault", "match": {"path": path, **(match or {"every": 3})}, "action": action}


FAULTS = {
    "500 before processing": _rule({"when": "before", "status": 500}),
    "503 before processing": _rule({"when": "before", "status": 503}),
    "502 after processing": _rule({"when": "after", "status": 502}),
    "504 after processing": _rule({"when": "after", "status": 504}),
    "closed before processing": _rule({"when": "before", "close": "eof"}),
    "closed after processing": _rule({"when": "after", "close": "eof"}),
    "reset before processing": _rule({"when": "before", "close": "reset"}),
    "reset after processing": _rule({"when": "after", "close": "reset"}),
    "answer cut in the middle": _rule({"when": "after", "cut": 40}),
    "answer is not JSON": _rule({"when": "after", "malformed": True}),
    "201 after processing": _rule({"when": "after", "status": 201}),
    "202 after processing": _rule({"when": "after", "status": 202}),
    "rows repeated": _rule({"when": "after", "rows": ["duplicated"]}),
    "rows in another order": _rule({"when": "after", "rows": ["reordered"]}),
    "slow answer": _rule({"when": "after", "delay_seconds": 0.2}),
    "429 with whole seconds": _rule({"when": "before", "preset": "rate_limited", "retry_after": "integer"}),
    "429 with a decimal": _rule(
        {"when": "before", "preset": "rate_limited", "retry_after": "decimal", "retry_after_seconds": 0.3}
    ),
    "429 with a date": _rule({"when": "before", "preset": "rate_limited", "retry_after": "date"}),
    "429 without a word": _rule({"when": "before", "preset": "rate_limited", "retry_after": "absent"}),
    "not ready for a moment": _rule(
        {
            "when": "before",
            "status": 409,
            "body": {"detail": {"code": "instance_not_ready", "retry_after_seconds": 1}},
        },
        nth=2,
    ),
    "status closed": _rule({"when": "before", "close": "eof"}, path=STATUS, every=5),
    "status 500": _rule({"when": "before", "status": 500}, path=STATUS, every=5),
    "status not JSON": _rule({"when": "after", "malformed": True}, path=STATUS, every=5),
    "status 429": _rule(
        {"when": "before", "preset": "rate_limited", "retry_after": "decimal", "retry_after_seconds": 0.05},
        path=STATUS,
        every=20,
    ),
}


def _ends(stage, transport: str, **settings):
    source = ArchiveProvider(ArchiveProvider.config_model(provider="archive", path=stage.folder / "source"))
    target = SynapProvider(
        SynapProvider.config_model(
            provider="synap",
            api_key=EMULATOR_API_KEY,
            base_url=stage.server.base_url,
            transport=transport,
            customer_id="stage",
            batch_size=20,
            retry={"attempts": 10, "backoff": 0.02},  # one in five fails; never ten in a row
            timeouts={"connect": 2, "read": 5, "write": 5},
            **settings,
        )
    )
    return source, target


async def _move(stage, transport: str, **settings):
    source, target = _ends(stage, transport, **settings)
    return await memxfer.migrate(
        source,
        target,
        state_dir=stage.folder / "state",
        job="j",
        options=Options(accept_loss=("all",), writers=4),
    )


# What a target does with a second document matters only where the first may have arrived.
CASES = [
    (fault, policy)
    for fault, rule in FAULTS.items()
    for policy in ("update", "row_error")
    if policy == "update" or rule["action"]["when"] == "after"
]


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["sdk", "http"])
@pytest.mark.parametrize(("fault", "policy"), CASES)
async def test_a_fault_loses_nothing_and_stores_nothing_twice(stage, fill, fault, policy, transport) -> None:
    fill(stage.folder / "source", RECORDS)
    stage.server.admin.configure(duplicate_policy=policy)
    stage.server.admin.inject(FAULTS[fault])

    result = await _move(stage, transport)

    truth = stage.truth()
    assert result.status == "completed", result.message
    assert truth["distinct_ids"] == RECORDS
    assert truth["stored_twice"] == 0
    assert result.counts.stored + result.counts.present == result.counts.listed == RECORDS
    if policy != "row_error":
        assert result.counts.stored == RECORDS


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["sdk", "http"])
async def test_refused_documents_are_failures_and_the_rest_arrives(stage, fill, transport) -> None:
    def make(number: int):
        record = stage.make(number)
        if number % 50:
            return record
        return type(record)(
            id=record.id,
            content="[[fail]] cannot be processed",
            scope=record.scope,
            created_at=record.created_at,
        )

    fill(stage.folder / "source", 200, make=make)

    result = await _move(stage, transport)

    failures = list(memxfer.failures("j", state_dir=stage.folder / "state"))
    assert result.status == "completed_with_failures"
    assert (result.counts.stored, result.counts.failed) == (196, 4)
    assert {failure.id for failure in failures} == {"m-000000", "m-000050", "m-000100", "m-000150"}
    assert all(failure.reason for failure in failures)


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["sdk", "http"])
async def test_null_ids_in_failed_rows_cost_only_those_rows(stage, fill, transport) -> None:
    fill(stage.folder / "source", 200)
    first, _ = _ends(stage, transport)
    del first
    stage.server.admin.configure(duplicate_policy="row_error", null_ids_in_failed_rows=True)
    stage.server.admin.inject(_rule({"when": "after", "close": "eof"}, nth=1))

    result = await _move(stage, transport)

    assert result.counts.stored + result.counts.present == 200, result.message
    assert result.counts.failed == 0
    assert stage.truth()["stored_twice"] == 0


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["sdk", "http"])
async def test_a_revoked_key_pauses_the_job_and_a_new_key_ends_it(stage, fill, transport) -> None:
    fill(stage.folder / "source", RECORDS)
    stage.server.admin.inject(
        {"name": "revoked", "match": {"path": BATCH, "from_nth": 5}, "action": {"preset": "key_revoked"}}
    )

    paused = await _move(stage, transport)
    stage.server.admin.inject()
    source, target = _ends(stage, transport)
    resumed = await memxfer.resume("j", state_dir=stage.folder / "state", source=source, target=target)

    assert (paused.status, paused.cause) == ("paused", "auth")
    assert 0 < paused.counts.listed < RECORDS
    assert paused.counts.uncertain == 0, "a refused key proves that nothing was stored"
    assert resumed.status == "completed"
    assert resumed.counts.stored == RECORDS
    assert stage.truth()["stored_twice"] == 0
    assert stage.truth()["received"] == RECORDS
