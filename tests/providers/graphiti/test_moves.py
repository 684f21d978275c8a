"""Whole moves: out of the reference store into a graph, and out of the graph again."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from memxfer import migration
from memxfer.errors import DecisionRequiredError
from memxfer.spi import MemoryRecord, Message, RecordState, Relation, Scope, Validity, Version
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

ACCEPT = migration.Options(accept_loss=("all",))
AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
ENVELOPED = {"updated_at", "inactive", "tags", "session", "versions"}


@pytest.fixture
def make_store(tmp_path):
    """Return a function that gives a reference store of this test's own."""
    names = []

    def make(name):
        names.append(f"{tmp_path}/{name}")
        return MemoryReferenceProvider(MemoryConfig(provider="memory", store=names[-1]))

    yield make
    for name in names:
        MemoryStore.forget(name)


def fact(number):
    moment = AT + timedelta(microseconds=number)
    ended = number % 5 == 0
    return MemoryRecord(
        id=f"fact-{number}",
        content=f"fact number {number}",
        scope=Scope(user=f"user{number % 7}@example.org", session="s" if number % 2 else None),
        metadata={"n": number, "deep": {"list": [number, None]}},
        tags=("tea",) if number % 3 == 0 else (),
        created_at=moment - timedelta(days=1),
        updated_at=moment,
        validity=Validity(
            valid_from=moment - timedelta(days=9),
            valid_to=moment if ended else None,
            recorded_at=moment,
            invalidated_at=moment + timedelta(hours=1) if ended else None,
        ),
        state=RecordState.SUPERSEDED if ended else RecordState.ACTIVE,
        versions=(Version(content="earlier", at=AT),) if number % 11 == 0 else (),
        relations=(Relation(subject=f"User {number % 7}", predicate="LIKES", object=f"Thing {number % 10}"),),
        provenance={"episode_uuids": [f"p{number}"]},
    )


def without_id(record):
    return msgspec.structs.replace(record, id="")


async def test_300_facts_there_and_back_are_equal(make_graph, make_store, tmp_path):
    source, target = make_store("from"), make_store("to")
    source.data.seed(map(fact, range(300)))
    into = await migration.migrate(source, make_graph(), state_dir=tmp_path / "state", options=ACCEPT)
    assert (into.status, into.counts.listed, into.counts.stored) == ("completed", 300, 300)
    verdicts = {line.dimension: line.verdict for line in into.losses if line.records}
    assert {name for name, verdict in verdicts.items() if verdict == "enveloped"} == ENVELOPED
    assert not any(line.contradiction or line.verdict == "lost" for line in into.losses if line.records)

    out = await migration.migrate(make_graph(), target, state_dir=tmp_path / "state", options=ACCEPT)
    assert (out.status, out.counts.listed, out.counts.stored) == ("completed", 300, 300)
    assert not any(line.contradiction for line in out.losses)
    found = sorted(target.data.records, key=lambda record: record.metadata["n"])
    assert list(map(without_id, found)) == [without_id(fact(number)) for number in range(300)]


async def test_a_second_move_finds_everything_there(make_graph, make_store, tmp_path):
    source = make_store("from")
    source.data.seed(map(fact, range(50)))
    for folder in ("one", "two"):
        result = await migration.migrate(source, make_graph(), state_dir=tmp_path / folder, options=ACCEPT)
        assert result.status == "completed"
    counts = result.counts
    assert counts.stored + counts.present == 50
    check = make_store("check")
    await migration.migrate(make_graph(), check, state_dir=tmp_path / "three", options=ACCEPT)
    assert len(check.data) == 50


async def test_auto_puts_turns_among_the_episodes(make_graph, make_store, tmp_path):
    source = make_store("from")
    turns = [
        MemoryRecord(
            id=f"turn-{number}",
            content=f"turn {number}",
            kind="message",
            scope=Scope(user="ann", session="s"),
            messages=(Message(role="user", content=f"turn {number}"),),
            created_at=AT,
            occurred_at=AT + timedelta(seconds=number),
        )
        for number in range(10)
    ]
    source.data.seed([*turns, *map(fact, range(5))])
    await migration.migrate(source, make_graph(), state_dir=tmp_path / "state", options=ACCEPT)
    for unit, expected in (("episodes", turns), ("facts", [fact(number) for number in range(5)])):
        copy = make_store(unit)
        await migration.migrate(
            make_graph(unit=unit), copy, state_dir=tmp_path / f"state-{unit}", options=ACCEPT
        )
        assert Counter(map(repr, map(without_id, copy.data.records))) == Counter(
            map(repr, map(without_id, expected))
        )


async def test_records_of_nobody_block_the_job_until_somebody_decides(make_graph, make_store, tmp_path):
    source = make_store("from")
    source.data.seed([msgspec.structs.replace(fact(number), scope=Scope()) for number in range(3)])
    with pytest.raises(DecisionRequiredError, match="owner"):
        await migration.migrate(source, make_graph(), state_dir=tmp_path / "one", options=ACCEPT)
    result = await migration.migrate(
        source, make_graph(unscoped="shared"), state_dir=tmp_path / "two", options=ACCEPT
    )
    assert result.counts.stored == 3


async def test_apps_of_one_user_stay_apart(make_graph, make_store, tmp_path):
    source = make_store("from")
    scopes = [Scope(user="ann", app=app) for app in ("a", "b", None)]
    source.data.seed([msgspec.structs.replace(fact(n), scope=scope) for n, scope in enumerate(scopes)])
    report = await migration.diff(source, make_graph())
    assert not any(line.blocking for line in report.dimensions)
    await migration.migrate(source, make_graph(), state_dir=tmp_path / "state", options=ACCEPT)
    copy = make_store("copy")
    await migration.migrate(make_graph(), copy, state_dir=tmp_path / "state2", options=ACCEPT)
    assert {repr(record.scope) for record in copy.data.records} == set(map(repr, scopes))
