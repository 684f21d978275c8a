import itertools

import pytest

from memxfer import migration
from memxfer.migration import ClaimVerdict
from memxfer.models import MemoryRecord, Scope
from memxfer.testing import FaultyProvider, ManualClock
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

_numbers = itertools.count(1)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Told:
    """What an observer was told."""

    def __init__(self):
        self.notices = []

    def progress(self, progress):
        raise AssertionError("a probe has no progress")

    def notice(self, level, text):
        self.notices.append((level, text))

    @property
    def warnings(self):
        return [text for level, text in self.notices if level == "warning"]


class Bench:
    """A store that holds a user's record, and probes of it."""

    def __init__(self, state):
        self.store = MemoryStore.named(f"probed-{next(_numbers)}")
        self.own = MemoryRecord(id="own", content="the user's own memory", scope=Scope(user="ann"))
        self.store.seed([self.own])
        self.state = state
        self.clock = ManualClock()
        self.told = Told()

    def provider(self, kind=MemoryReferenceProvider, **settings):
        settings = {"store": self.store.name, **settings}
        return kind(MemoryConfig(provider="memory", **settings), clock=self.clock)

    def faulty(self, *faults, hidden=(), kind=MemoryReferenceProvider, **settings):
        return FaultyProvider(self.provider(kind, **settings), faults, hidden=hidden)

    async def probe(self, provider=None, **more):
        return await migration.probe(
            provider or self.provider(), state_dir=self.state, observer=self.told, **more
        )

    @property
    def is_as_before(self):
        """Whether the user's record is there, and nothing else."""
        return self.store.records == [self.own]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "state")
    yield made
    MemoryStore.forget(made.store.name)


@pytest.fixture
def claim_of():
    """Return a claim of a report by its path."""

    def find(report, path):
        return next(claim for claim in report.claims if claim.path == path)

    return find


@pytest.fixture
def lowered():
    """Return what was downgraded, as path -> word."""

    def find(report):
        return {c.path: c.found for c in report.claims if c.verdict is ClaimVerdict.DOWNGRADED}

    return find
