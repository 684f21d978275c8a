"""Writes that break off, and what their receipts then say."""

import sqlite3

import pytest

from memxfer.spi import AmbiguousError, BatchRefusedError, Outcome, Role, UnavailableError

pytestmark = pytest.mark.anyio


async def test_a_busy_history_stores_nothing_and_may_be_tried_again(qdrant_app, make_record, monkeypatch):
    await qdrant_app.write(make_record(1))
    provider = await qdrant_app.writing()
    document = provider.prepare(make_record(2), "mx:k", {})
    await provider._worker.run(provider._client._writer._db.execute, "PRAGMA busy_timeout = 1")
    other = sqlite3.connect(qdrant_app.history)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(UnavailableError, match="busy"):
        await provider.write([document])
    assert await provider.count() == 1
    other.rollback()
    other.close()
    (receipt,) = await provider.write([document])
    await provider.aclose()

    assert receipt.outcome is Outcome.CREATED


async def test_a_write_that_breaks_off_is_unknown_and_can_be_repeated(app, make_record, monkeypatch):
    provider = await app.writing()
    documents = [provider.prepare(make_record(n), f"mx:{n}", {}) for n in range(3)]
    store = provider._client.vectors
    real = store.upsert

    def broken(rows, present):
        real(rows[:1], present)
        raise OSError("disk")

    monkeypatch.setattr(store, "upsert", broken)
    monkeypatch.setattr(store, "classify", lambda error, operation: _ambiguous(operation))
    receipts = await provider.write(documents)
    monkeypatch.undo()
    again = await provider.write(documents)
    await provider.aclose()

    assert {receipt.outcome for receipt in receipts} == {Outcome.UNKNOWN}
    assert [receipt.outcome for receipt in again] == [Outcome.PRESENT, Outcome.CREATED, Outcome.CREATED]
    assert len(await app.read()) == 3
    assert app.query("SELECT count(*) FROM history") == [(3,)]


def _ambiguous(operation):
    return AmbiguousError("lost", operation=operation)


async def test_a_refused_batch_stores_nothing(app, make_record):
    provider = await app.connected(Role.TARGET)
    good, bad = (provider.prepare(make_record(n), f"mx:{n}", {}) for n in (1, 2))
    provider._client._embedder.vectors = lambda texts: [[0.5] * 16, [0.5] * 3]

    with pytest.raises(BatchRefusedError):
        await provider.write([good, bad])
    assert await provider.count() == 0
    await provider.aclose()
    assert app.query("SELECT count(*) FROM history") == [(0,)]
