import itertools

import pytest

from memxfer.client import ClientSettings, MemoryClient, SwappableClient
from memxfer.models import Scope
from memxfer.testing import FaultyProvider, ManualClock
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

_numbers = itertools.count(1)
ANN = Scope(user="ann")


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Backends:
    """Stores in this process, providers over them that fail as told, and clients of those."""

    def __init__(self, folder):
        self.folder = folder
        self.prefix = f"client-{next(_numbers)}"
        self.made = []
        self.faults = {}
        self.settings = {}
        self.kinds = {}
        self.names = set()
        self.clock = None

    def store(self, name):
        self.names.add(name)
        return MemoryStore.named(f"{self.prefix}-{name}")

    def factory(self, name):
        self.store(name)

        def make():
            config = MemoryConfig(
                provider="memory", store=f"{self.prefix}-{name}", **self.settings.get(name, {})
            )
            inner = self.kinds.get(name, MemoryReferenceProvider)(config, clock=self.clock)
            made = FaultyProvider(inner, self.faults.get(name, ()))
            self.made.append((name, made))
            return made

        return make

    def client(self, *names, outbox=True, kind=MemoryClient, settings=None, **options):
        place = self.folder / "outbox.sqlite" if outbox is True else outbox or None
        return kind(
            {name: self.factory(name) for name in names or ("one",)},
            outbox=place,
            settings=settings or ClientSettings(timeout=2, drain=0),
            **options,
        )

    def swappable(self, *names, **options):
        return self.client(*(names or ("one", "two")), kind=SwappableClient, **options)

    def texts(self, name="one"):
        return [row.record.content for row in self.store(name).rows()]


@pytest.fixture
def backends(tmp_path):
    made = Backends(tmp_path)
    yield made
    for name in made.names:
        MemoryStore.forget(f"{made.prefix}-{name}")


@pytest.fixture
def clock():
    return ManualClock()
