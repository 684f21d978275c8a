"""A chat loop with a memory, in the order that Synap recommends: fetch, answer, then ingest the turn."""

import asyncio
import os

from memxfer import Scope, SwappableClient

BACKENDS = {
    "mem0": {"api_key": "env:MEM0_API_KEY", "base_url": os.environ.get("MEM0_URL")},
    "zep": {"api_key": "env:ZEP_API_KEY", "base_url": os.environ.get("ZEP_URL")},
    "synap": {
        "api_key": "env:SYNAP_API_KEY",
        "base_url": os.environ.get("SYNAP_URL"),
        "customer_id": "my-app",
    },
}


def answer(question: str, remembered: str) -> str:
    """Stand in for a model: the prompt of a real one holds `remembered`."""
    return f"You asked {question!r}; I remember {len(remembered.splitlines())} things."


async def chat(memory: SwappableClient, user: str, questions: list[str]) -> None:
    """Answer questions of one conversation."""
    scope = Scope(user=user, session=f"chat-of-{user}")
    for question in questions:
        context = await memory.recall(question, scope=scope, budget=2_000, seconds=2)
        reply = answer(question, context.text if context else "")
        print(reply)
        # After the answer, and without waiting for the backend: it is on disk when this returns.
        await memory.ingest(
            scope=scope,
            messages=[
                {"role": "user", "content": question},
                {"role": "assistant", "content": reply},
            ],
        )


async def main() -> None:
    """Chat on the backend that `MEMORY` names."""
    backend = os.environ.get("MEMORY", "synap")
    async with SwappableClient(BACKENDS, backend, outbox=f"outbox-{backend}.sqlite") as memory:
        await chat(memory, "ann", ["Do I like tea?", "Which tea do I like?"])
        if not await memory.flush(20):
            raise SystemExit(f"{backend} has not taken the turns yet; they are delivered on the next start")


if __name__ == "__main__":
    asyncio.run(main())
