"""A FastAPI app whose memory goes to another backend while it serves: `POST /admin/memory/synap`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chat_loop import BACKENDS, answer
from fastapi import FastAPI, HTTPException

from memxfer import MemxferError, Scope, SwappableClient


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the memory with the app, and let its outbox empty when the app ends."""
    async with SwappableClient(BACKENDS, "mem0", outbox="outbox-app.sqlite") as memory:
        app.state.memory = memory
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chat/{user}")
async def chat(user: str, question: str) -> dict[str, str]:
    """Answer with what is remembered, then remember the question and the reply."""
    memory: SwappableClient = app.state.memory
    scope = Scope(user=user, session=f"chat-of-{user}")
    context = await memory.recall(question, scope=scope, seconds=2)
    reply = answer(question, context.text if context else "")
    turn = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    handle = await memory.ingest(scope=scope, messages=turn)
    return {"memory": memory.current, "reply": reply, "turn": handle.document_id}


@app.post("/admin/memory/{name}")
async def swap(name: str) -> dict[str, str]:
    """Go over to another backend; nothing changes if it cannot be used. Protect this route in your app."""
    try:
        await app.state.memory.swap(name)
    except MemxferError as error:
        raise HTTPException(status_code=409, detail=str(error)) from error
    return {"memory": app.state.memory.current}
