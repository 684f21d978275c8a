"""Whole moves into Zep through the engine: facts, episodes and threads, each once, whatever breaks."""

import contextlib
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from memxfer import migration
from memxfer.spi import MemoryRecord, Message, Relation, RetrySettings, Scope, Validity
from memxfer.testing import Fault, FaultKind, FaultyProvider, SimulatedCrashError
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

AT = datetime(2024, 3, 9, tzinfo=UTC)
ACCEPT = {"accept_loss": ("all",)}


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now, emulated.clock.step = time.time(), 0.001


def records():
    """Sixty facts of three users, ten texts too long for a fact, a thread of forty turns, a group's fact."""
    owners = [Scope(user=f"u{n % 3}@example.org/x") for n in range(60)]
    facts = [
        MemoryRecord(id=f"fact-{n}", content=f"fact {n}", scope=owner, created_at=AT, metadata={"n": n})
        for n, owner in enumerate(owners)
    ]
    relation = Relation(subject="Ann", predicate="works at", object="Acme")
    facts[0] = MemoryRecord(
        id="fact-0",
        content="fact 0",
        scope=owners[0],
        relations=(relation,),
        validity=Validity(valid_from=AT, valid_to=AT + timedelta(days=1)),
    )
    texts = [
        MemoryRecord(id=f"text-{n}", content=f"text {n} " + "x" * 300, scope=owners[n], created_at=AT)
        for n in range(10)
    ]
    turns = [
        MemoryRecord(
            id=f"turn-{n}",
            content=f"turn {n}",
            kind="message",
            messages=(Message(role="user", content=f"turn {n}", at=AT + timedelta(minutes=n)),),
            scope=Scope(user="u0@example.org/x", session="42"),
        )
        for n in reversed(range(40))
    ]
    return [*facts, *texts, *turns, MemoryRecord(id="g", content="of the team", scope=Scope(group="team"))]


@pytest.fixture
def source():
    """Give a function that opens a source of all records anew."""

    def make():
        return MemoryReferenceProvider(MemoryConfig(provider="memory", store="arrivals"))

    MemoryStore.named("arrivals").seed(records())
    yield make
    MemoryStore.forget("arrivals")


def target(zep, **settings):
    return zep.provider(retry=RetrySettings(attempts=20, backoff=0.001, backoff_max=0.01), **settings)


async def move(zep, source, tmp_path, **settings):
    options = migration.Options(**ACCEPT)
    return await migration.migrate(
        source(), target(zep, **settings), state_dir=tmp_path / "state", options=options
    )


def stored(zep):
    facts = Counter(edge["fact"] for edge in zep.truth("edge"))
    texts = Counter(one["content"][:7] for one in zep.truth("episode") if one["source"] == "text")
    return facts, texts


async def test_everything_arrives_once_and_in_order(zep, source, tmp_path):
    result = await move(zep, source, tmp_path)
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 111, 111)
    facts, texts = stored(zep)
    assert facts == Counter([*(f"fact {n}" for n in range(60)), "of the team"])
    assert texts == Counter(f"text {n} " for n in range(10))
    said = sorted(zep.truth("message"), key=lambda one: one["created_at"])
    assert [one["content"] for one in said] == [f"turn {n}" for n in range(40)]
    counts = zep.counts()
    assert (counts["user"], counts["thread"], counts["graph"]) == (3, 1, 1)
    # the users' own, one for the kind of each, Ann and Acme, the group's and its kind
    assert counts["node"] == 3 + 3 + 2 + 2
    assert "doubled" not in counts


@pytest.mark.parametrize("seed", range(3))
async def test_lost_answers_double_nothing_and_orphan_nothing(zep, source, tmp_path, seed):
    zep.break_with(
        match={
            "method": "POST",
            "probability": 0.3,
            "seed": seed,
            "path_regex": ".*/(users|threads|graphs|nodes|edges|episodes|messages)",
        },
        close="eof",
        when="after",
    )
    result = await move(zep, source, tmp_path)
    assert zep.emulator.faults.report()[0]["fired"] > 0
    zep.break_with("/nowhere", status=500)
    for _ in range(20):
        if result.status == "completed":
            break
        result = await migration.resume(
            result.job,
            source=source(),
            target=target(zep),
            state_dir=tmp_path / "state",
            options=migration.Options(**ACCEPT),
        )
    assert result.status == "completed"
    facts, texts = stored(zep)
    assert set(facts.values()) == set(texts.values()) == {1}
    counts = zep.counts()
    assert (counts["user"], counts["thread"], counts["graph"], counts["node"]) == (3, 1, 1, 10)
    assert (len(facts), len(texts), counts["message"]) == (61, 10, 40)


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize(("operation", "call"), [("write", 1), ("write", 5), ("ensure", 2), ("ensure", 6)])
async def test_a_crash_doubles_nothing_and_orphans_nothing_and_asks_nobody(
    zep, source, tmp_path, kind, operation, call
):
    """What was accepted is not listed yet when the job is resumed: the look-up waits for it."""
    zep.configure(task_seconds=0.02)
    dying = FaultyProvider(target(zep), [Fault(kind, on=operation, calls=(call,))])
    with contextlib.suppress(SimulatedCrashError, BaseExceptionGroup):
        await migration.migrate(
            source(), dying, state_dir=tmp_path / "state", job="j", options=migration.Options(**ACCEPT)
        )
    assert dying.script.happened
    await dying.aclose()

    result = await migration.resume(
        "j",
        source=source(),
        target=target(zep),
        state_dir=tmp_path / "state",
        options=migration.Options(**ACCEPT),
    )

    assert (result.status, result.counts.listed) == ("completed", 111)
    assert result.counts.stored + result.counts.present == 111
    facts, texts = stored(zep)
    assert set(facts.values()) == set(texts.values()) == {1}
    counts = zep.counts()
    assert (counts["user"], counts["thread"], counts["graph"], counts["node"]) == (3, 1, 1, 10)
    assert (len(facts), len(texts), counts["message"]) == (61, 10, 40)


async def test_a_job_of_one_graph_is_rolled_back_by_its_container(zep, source, tmp_path):
    result = await move(zep, source, tmp_path, container="graph-per-job", widening="allow")
    assert result.counts.stored == 111
    assert zep.counts()["graph"] == 1
    [graph] = zep.truth("graph")
    provider = await zep.target()
    assert await provider.delete([f"graph:{graph['uuid']}"]) == 1
    assert "edge" not in zep.counts()
