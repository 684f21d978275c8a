"""A live project: rows come and go while three thousand are moved, with the vendor's own client."""

import random
from collections import Counter
from typing import ClassVar

import pytest

from memxfer import migration
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_zep import ZepProvider
from memxfer_zep.emulator import EMULATOR_API_KEY

pytestmark = pytest.mark.anyio

CAME, WENT = 50, 80


class LiveApp:
    """Inserts and deletes rows between the pages of a listing, until so many have come and gone."""

    def __init__(self, emulator, kind, rows):
        self.emulator, self.kind = emulator, kind
        self.rows, self.gone, self.came = list(rows), set(), 0
        self.chance = random.Random(3)

    def between_pages(self, make):
        store = self.emulator.store
        for _ in range(min(4, WENT - len(self.gone))):
            victim = self.rows.pop(self.chance.randrange(len(self.rows)))
            store.remove(EMULATOR_API_KEY, self.kind, victim)
            self.gone.add(victim)
        for _ in range(min(3, CAME - self.came)):
            self.emulator.seed(self.kind, make(self.came))
            self.came += 1


class Watched(ZepProvider):
    """Lets the app do something after each page."""

    app: ClassVar
    make: ClassVar

    async def _read_page(self, partition, cursor, limit):
        page = await super()._read_page(partition, cursor, limit)
        if page.rows:
            self.app.between_pages(self.make)
        return page


def facts(zep):
    _, graph = zep.user(user_id="ann")
    _, other = zep.user(user_id="bob")
    rows = [*zep.facts(graph, 1_800), *zep.facts(other, 1_200)]
    return "edge", rows, lambda n: {"fact": f"new fact {n}", "graph_uuid": (graph, other)[n % 2]}


def messages(zep):
    user, _ = zep.user(user_id="ann")
    threads = [zep.put("thread", user_uuid=user) for _ in range(3)]

    def turn(n, text="old"):
        return {"thread_uuid": threads[n % 3], "role": "user", "content": f"{text} turn {n}"}

    rows = zep.put("message", *(turn(n) for n in range(3_000)))
    return "message", rows, lambda n: turn(n, "new")


@pytest.mark.parametrize(("unit", "fill"), [("facts", facts), ("messages", messages)])
async def test_every_row_that_was_there_throughout_arrives_exactly_once(zep, tmp_path, unit, fill):
    kind, rows, make = fill(zep)
    app = LiveApp(zep.emulator, kind, rows)
    source = type("Live", (Watched,), {"app": app, "make": staticmethod(make)})(zep.config(unit=unit))
    target = MemoryReferenceProvider(MemoryConfig(provider="memory", store="drifted"))
    try:
        result = await migration.migrate(source, target, state_dir=tmp_path, options=migration.Options())
        moved = Counter(row.record.id for row in MemoryStore.named("drifted").rows())
    finally:
        MemoryStore.forget("drifted")

    throughout = set(rows) - app.gone
    assert (len(app.gone), app.came, len(throughout)) == (WENT, CAME, 2_920)
    assert throughout <= moved.keys()
    assert set(moved.values()) == {1}
    assert result.counts.failed == result.counts.uncertain == 0
    assert result.counts.listed == len(moved)
