"""Writing again, otherwise, and in pieces: what is in the graph is what was sent last, once."""

import asyncio
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    FatalError,
    Outcome,
    Relation,
    Role,
    UnavailableError,
)
from memxfer.testing.conformance.driver import key_of, opened, prepare_all
from memxfer_graphiti.engines import kuzu as kuzu_engine

pytestmark = pytest.mark.anyio

AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
TEA = Relation(subject="Ann", predicate="LIKES", object="Tea")


async def test_the_same_batch_again_changes_nothing(graph, make_record):
    records = [make_record(n, metadata={"n": n}, created_at=AT) for n in range(20)]
    records.append(make_record(99, kind="message"))
    first = await graph.write(*records)
    second = await graph.write(*records)
    assert {one.receipt.outcome for one in first} == {Outcome.CREATED}
    assert {one.receipt.outcome for one in second} == {Outcome.PRESENT}
    assert [one.receipt.target_ids for one in first] == [one.receipt.target_ids for one in second]
    assert graph.ask("MATCH (e:RelatesToNode_)-[r:RELATES_TO]->(:Entity) RETURN count(*)") == [[20]]


async def test_a_changed_fact_is_replaced_with_its_ends_and_its_vector_is_forgotten(graph, make_record):
    await graph.write(make_record(1, relations=(TEA,)))
    graph.ask("MATCH (e:RelatesToNode_) SET e.fact_embedding = [0.5, 0.25]")
    coffee = make_record(
        1, content="likes coffee", relations=(msgspec.structs.replace(TEA, object="Coffee"),)
    )
    (written,) = await graph.write(coffee)
    assert written.receipt.outcome is Outcome.UPDATED
    (found,) = await graph.read()
    assert (found.content, found.relations[0].object) == ("likes coffee", "Coffee")
    assert graph.ask("MATCH (e:RelatesToNode_) RETURN e.fact_embedding") == [[None]]


async def test_a_fact_that_gets_a_tag_keeps_its_vector(graph, make_record):
    await graph.write(make_record(1))
    graph.ask("MATCH (e:RelatesToNode_) SET e.fact_embedding = [0.5, 0.25]")
    (written,) = await graph.write(make_record(1, tags=("new",)))
    assert written.receipt.outcome is Outcome.UPDATED
    assert graph.ask("MATCH (e:RelatesToNode_) RETURN e.fact_embedding") == [[[0.5, 0.25]]]


async def test_a_fact_whose_end_an_app_deleted_is_whole_again(graph, make_record):
    await graph.write(make_record(1, relations=(TEA,)))
    graph.ask("MATCH (n:Entity {name: 'Tea'}) DETACH DELETE n")
    assert await graph.read() == []
    (written,) = await graph.write(make_record(1, relations=(TEA,)))
    assert written.receipt.outcome is Outcome.CREATED
    assert len(await graph.read()) == 1
    assert graph.ask("MATCH (:Entity)-[r:RELATES_TO]->(e:RelatesToNode_) RETURN count(*)") == [[1]]


@pytest.mark.parametrize("first", ["fact", "episode"])
async def test_what_was_written_as_the_other_kind_is_moved(graph, make_record, first):
    second = {"fact": "episode", "episode": "fact"}[first]
    await graph.write(make_record(1), write=first)
    (written,) = await graph.write(make_record(1), write=second)
    assert written.receipt.outcome is Outcome.UPDATED
    assert await graph.read(unit=f"{first}s") == []
    assert len(await graph.read(unit=f"{second}s")) == 1


async def test_two_documents_of_one_key_in_a_batch_are_one_row(graph, make_record):
    written = await graph.write(make_record(1), make_record(1, content="later"))
    assert [one.is_stored for one in written] == [True, True]
    assert [record.content for record in await graph.read()] == ["later"]


async def test_a_batch_that_breaks_in_the_middle_leaves_nothing_and_is_whole_when_sent_again(
    graph, make_record, monkeypatch
):
    records = [make_record(n, relations=(TEA,)) for n in range(5)] + [make_record(9, kind="message")]
    with monkeypatch.context() as broken:
        broken.setattr(kuzu_engine, "_TIE", "UNWIND $rows AS r RETURN timestamp(r.uuid)")
        with pytest.raises(BatchRefusedError):
            async with opened(graph.make, Role.TARGET) as target:
                await target.write(prepare_all(target, records))
    counts = "MATCH (n) RETURN count(*)"
    assert graph.ask(counts) == [[0]]
    await graph.write(*records)
    once = graph.ask(counts)
    await graph.write(*records)
    assert graph.ask(counts) == once
    assert len(await graph.read()) == 5


async def test_a_commit_without_an_answer_is_unknown_and_sent_again_it_is_there_once(
    graph, make_record, monkeypatch
):
    query = kuzu_engine.KuzuFile.query

    def lose_the_answer(self, cypher, **params):
        found = query(self, cypher, **params)
        if cypher == "COMMIT":
            raise UnavailableError("no answer")
        return found

    async with opened(graph.make, Role.TARGET) as target:
        documents = prepare_all(target, [make_record(1)])
        with monkeypatch.context() as broken:
            broken.setattr(kuzu_engine.KuzuFile, "query", lose_the_answer)
            (receipt,) = await target.write(documents)
        assert receipt.outcome is Outcome.UNKNOWN
        assert isinstance(receipt.error, AmbiguousError)
        (again,) = await target.write(documents)
        assert again.outcome is Outcome.PRESENT
    assert len(await graph.read()) == 1


async def test_a_batch_that_needs_too_much_memory_is_halved_and_a_record_that_does_stops_the_job(
    graph, make_record
):
    """Kuzu keeps all that a transaction changes in its buffer pool, 64 MB here."""
    large = [make_record(n, kind="message", content="secret " * 100_000) for n in range(30)]
    larger = make_record(99, kind="message", content="secret " * 10_000_000)
    async with opened(graph.make, Role.TARGET) as target:
        with pytest.raises(BatchRefusedError, match="than buffer_pool_mb; raise that"):
            await target.write(prepare_all(target, large))
        receipts = await target.write(prepare_all(target, large[:2]))
        assert {receipt.outcome for receipt in receipts} == {Outcome.CREATED}
        with pytest.raises(FatalError, match="than buffer_pool_mb; raise that"):
            await target.write(prepare_all(target, [larger]))
    assert len(await graph.read(unit="episodes")) == 2


async def test_a_commit_that_runs_out_of_memory_is_in_doubt_and_the_graph_whole(graph, make_record):
    """Kuzu 0.11.3 ends the process with SIGSEGV when it is used after such a commit."""
    stored, doubtful = 0, 0
    async with opened(graph.make, Role.TARGET) as target:
        for number in range(200):
            record = make_record(number, kind="message", content=f"{number} secret " * 70_000)
            (receipt,) = await target.write(prepare_all(target, [record]))
            stored += receipt.outcome is Outcome.CREATED
            if receipt.outcome is Outcome.UNKNOWN:
                doubtful += 1
                assert "than buffer_pool_mb; raise that; whether" in str(receipt.error)
                break
        with pytest.raises(FatalError, match="than buffer_pool_mb; raise that"):
            await target.lookup([key_of(record)])
    assert (doubtful, stored > 0) == (1, True)
    assert len(await graph.read(unit="episodes", buffer_pool_mb=512)) in (stored, stored + 1)


async def test_an_end_that_an_app_described_since_outlives_a_rollback(graph, make_record):
    (written,) = await graph.write(make_record(1, relations=(TEA,)))
    graph.ask("MATCH (n:Entity {name: 'Tea'}) SET n.summary = 'a drink'")
    async with opened(graph.make, Role.TARGET) as target:
        await target.delete(written.receipt.target_ids)
    assert graph.ask("MATCH (n:Entity) RETURN n.name") == [["Tea"]]


async def test_a_target_gives_facts_and_episodes_by_id(graph, make_record):
    records = [make_record(1), make_record(2, kind="message")]
    async with opened(graph.make, Role.TARGET) as target:
        written = await target.write(prepare_all(target, records))
        found = [await target.get(receipt.target_ids[0]) for receipt in written]
        keys = {key_of(record): receipt.target_ids for record, receipt in zip(records, written, strict=True)}
        assert await target.lookup([*keys, "mx:other"]) == keys
    assert [record.content for record in found] == [record.content for record in records]


async def test_kuzu_is_never_asked_on_the_event_loop_s_thread(graph, make_record, monkeypatch):
    threads = set()
    asked = kuzu_engine.KuzuFile.query

    def query(self, cypher, **params):
        threads.add(threading.get_ident())
        return asked(self, cypher, **params)

    monkeypatch.setattr(kuzu_engine.KuzuFile, "query", query)
    await graph.back(make_record(1))
    assert threads
    assert threading.get_ident() not in threads


async def test_a_cancelled_write_leaves_a_file_that_can_be_used(graph, make_record):
    async with opened(graph.make, Role.TARGET) as target:
        documents = prepare_all(target, [make_record(n) for n in range(200)])
        task = asyncio.create_task(target.write(documents))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        receipts = await target.write(documents)
    assert {receipt.outcome for receipt in receipts} <= {Outcome.CREATED, Outcome.PRESENT}
    assert len(await graph.read()) == 200
