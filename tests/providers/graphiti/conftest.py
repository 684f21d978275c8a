import socket

import pytest

from memxfer.spi import MemoryRecord, Role, Scope
from memxfer.testing.conformance.driver import opened, read_records, write_all
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.sdk import import_sdk


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def _no_pause():
    """Kuzu stores at once."""


@pytest.fixture(scope="session")
def empty_graph(tmp_path_factory):
    """A graph with Graphiti's tables and nothing in them; Kuzu takes a while to make one."""
    from memxfer_graphiti.engines.kuzu import _schema

    path = tmp_path_factory.mktemp("graph") / "empty.kuzu"
    kuzu = import_sdk("kuzu")
    with kuzu.Database(path, buffer_pool_size=64 * 2**20) as database, kuzu.Connection(database) as it:
        it.execute(_schema())
    return path.read_bytes()


@pytest.fixture
def make_graph(tmp_path, empty_graph):
    """Return a function that gives a provider over a graph of that name, empty at first."""

    def make(name="graph.kuzu", *, clock=None, **settings):
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(empty_graph)
        config = GraphitiConfig(**{"provider": "graphiti", "path": path, "buffer_pool_mb": 64, **settings})
        return GraphitiProvider(config, clock=clock)

    return make


class Graph:
    """A graph in a file, written and read through providers of its own."""

    def __init__(self, make, path):
        self.make = make
        self.path = path

    async def write(self, *records, **settings):
        """Write records; return what became of each."""
        async with opened(lambda: self.make(**settings), Role.TARGET) as target:
            return await write_all(target, records, pause=_no_pause)

    async def read(self, **settings):
        """Return all records of a unit."""
        async with opened(lambda: self.make(**settings), Role.SOURCE) as source:
            return await read_records(source)

    async def back(self, record, **settings):
        """Write one record, and return it as it is read."""
        written = (await self.write(record, **settings))[0]
        assert written.is_stored, written
        found = await self.read(**settings)
        assert len(found) == 1
        return found[0]

    def ask(self, cypher, **params):
        """Ask the file itself, or change it, as an app would."""
        import kuzu

        with (
            kuzu.Database(self.path, buffer_pool_size=64 * 2**20) as database,
            kuzu.Connection(database) as it,
        ):
            return [list(row) for row in it.execute(cypher, params)]

    def alter(self, *statements):
        """Change the file, in one opening of it."""
        self.ask(";\n".join(statements))


@pytest.fixture
def graph(make_graph, tmp_path):
    make_graph()
    return Graph(make_graph, tmp_path / "graph.kuzu")


@pytest.fixture
def make_record():
    """Return a function that makes records of another backend's."""

    def make(number=1, **fields):
        defaults = {
            "id": f"mem-{number}",
            "content": f"likes tea number {number}",
            "scope": Scope(user="ann"),
        }
        return MemoryRecord(**{**defaults, **fields})

    return make


@pytest.fixture
def free_port():
    """Give a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def graphiti(graph):
    """Return a function that runs a coroutine on Graphiti's own driver, as an app would."""
    import_sdk("graphiti_core")
    from graphiti_core.driver.kuzu_driver import KuzuDriver

    async def run(call):
        with pytest.warns(DeprecationWarning, match="Kuzu backend is deprecated"):
            driver = KuzuDriver(str(graph.path))
        try:
            return await call(driver)
        finally:
            driver.client.close()
            driver.db.close()

    return run
