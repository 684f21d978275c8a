"""`memories.forget`: delete what a description matches, or only say what it would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from memxfer.emulation import Answer, Call, RefusedError

from .ranking import rank, words
from .scoping import ScopeError, owner_of
from .store import Memory

if TYPE_CHECKING:
    from .emulator import SynapEmulator

_SHORTEST, _LONGEST = 3, 500


class _Forget(msgspec.Struct):
    description: str
    user_id: str | None = None
    customer_id: str | None = None
    scope: dict[str, str] | None = None
    mode: Literal["preview", "direct"] = "preview"


_DECODER = msgspec.json.Decoder(_Forget)


def forget(emulator: SynapEmulator, call: Call) -> Answer:
    """Answer a forget call: scoped to one user, matched when half of the description's words occur."""
    asked = call.decode(_DECODER)
    if not _SHORTEST <= len(asked.description) <= _LONGEST:
        raise RefusedError(422, f"description must have {_SHORTEST} to {_LONGEST} characters")
    matches = _matches(emulator, call, asked)
    if not matches:
        return Answer(200, _response("nothing_matches", None, []))
    if asked.mode == "direct":
        now = emulator.clock()
        with emulator.store.state.transaction():
            for memory in matches:
                emulator.store.delete(memory, now)
    status = "deleted" if asked.mode == "direct" else "preview"
    return Answer(200, _response(status, str(emulator.new_id()), matches))


def _matches(emulator: SynapEmulator, call: Call, asked: _Forget) -> list[Memory]:
    try:
        owner = owner_of(call.identity, asked.user_id, asked.customer_id, asked.scope)
    except ScopeError as error:
        raise RefusedError(400, str(error)) from error
    if owner.level != "user":
        raise RefusedError(400, "forget must be scoped to exactly one user")
    needed = set(words(asked.description))
    hits = rank(emulator.memories_of(call.identity.instance_id, owner), [asked.description])
    return [hit.memory for hit in hits if len(needed & set(words(hit.memory.content))) * 2 >= len(needed)]


def _response(status: str, request_id: str | None, matches: list[Memory]) -> dict[str, Any]:
    candidates = [
        {
            "memory_id": one.memory_id,
            "content": one.content,
            "memory_type": one.memory_type,
            "store": "memory",
        }
        for one in matches
    ]
    return {
        "status": status,
        "request_id": request_id,
        "candidates": candidates,
        "deleted_ids": [one.memory_id for one in matches] if status == "deleted" else [],
        "failed_ids": [],
        "still_present_in": [],
        "may_be_incomplete": False,
    }
