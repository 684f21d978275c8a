import itertools

import pytest

from memxfer.models import MemoryRecord, Scope
from memxfer.testing import ManualClock
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

_numbers = itertools.count(1)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Ends:
    """A source and a target store of one test, and providers over them."""

    def __init__(self):
        number = next(_numbers)
        self.source = MemoryStore.named(f"from-{number}")
        self.target = MemoryStore.named(f"to-{number}")

    def seed(self, count, *, start=0, **fields):
        fields = {"scope": Scope(user="alice"), **fields}
        self.source.seed(
            MemoryRecord(id=f"r{number}", content=f"text {number}", **fields)
            for number in range(start, start + count)
        )

    def read(self, *, clock=None, kind=MemoryReferenceProvider, **settings):
        return kind(MemoryConfig(provider="memory", store=self.source.name, **settings), clock=clock)

    def write(self, *, clock=None, kind=MemoryReferenceProvider, **settings):
        return kind(MemoryConfig(provider="memory", store=self.target.name, **settings), clock=clock)


class Notes:
    """An observer that remembers."""

    def __init__(self):
        self.notices = []
        self.seen = []

    def progress(self, progress):
        self.seen.append(progress)

    def notice(self, level, text):
        self.notices.append((level, text))


@pytest.fixture
def ends():
    made = Ends()
    yield made
    MemoryStore.forget(made.source.name)
    MemoryStore.forget(made.target.name)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"
