"""An app that says turns to its memory, as fast as it may, and tells which ones were taken.

`python _chatting_app.py OUTBOX URL FIRST LAST`: says the turns FIRST to LAST-1, in ten conversations, and
prints the number of each once `ingest` has acknowledged it; then waits until everything is delivered.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from memxfer.client import ClientSettings, SwappableClient
from memxfer.models import Scope

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CONVERSATIONS = 10
WINDOW = 50


def settings(url: str) -> dict[str, str]:
    return {
        "api_key": "synap_emulator_key",
        "base_url": url,
        "customer_id": "acme",
        "transport": "http",
        "duplicate_policy": "upsert",
    }


async def say(memory: SwappableClient, number: int, room: asyncio.Semaphore) -> None:
    async with room:
        handle = await memory.ingest(
            messages=[{"role": "user", "content": f"turn {number}"}],
            scope=Scope(user="ann", session=f"talk-{number % CONVERSATIONS}"),
            turn=number // CONVERSATIONS,
            occurred_at=BEGAN + timedelta(seconds=number, microseconds=number),
        )
    if handle.is_kept:
        print(number, flush=True)


async def main(outbox: str, url: str, first: int, last: int) -> None:
    room = asyncio.Semaphore(WINDOW)
    memory = SwappableClient({"synap": settings(url)}, outbox=outbox, settings=ClientSettings(drain=120))
    async with memory:
        await asyncio.gather(*(say(memory, number, room) for number in range(first, last)))
        await memory.flush(120)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
