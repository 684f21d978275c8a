"""`POST /v3/memories/add/`: at once with `infer=False`, queued otherwise."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from memxfer.emulation import Answer, Call, RefusedError

from .rows import AXES, Memory, moment

if TYPE_CHECKING:
    from .emulator import Mem0PlatformEmulator

__all__ = ["Adding", "Job"]

_BODY = msgspec.json.Decoder(dict[str, Any])
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Job(msgspec.Struct):
    """An event: one add that is queued or done."""

    id: str
    body: dict[str, Any]
    queued_at: datetime
    status: str = "PENDING"
    results: list[dict[str, Any]] = []


class Adding:
    """Takes memories in. What is queued is lost with the process; what is stored is not."""

    def __init__(self, emulator: Mem0PlatformEmulator) -> None:
        self._emulator = emulator
        self.jobs: dict[str, Job] = {}

    def add(self, call: Call) -> Answer:
        """Answer an add."""
        body = call.decode(_BODY)
        check_add(body, call.body)
        emulator = self._emulator
        job = Job(str(emulator.new_id()), body, emulator.now())
        self.jobs[job.id] = job
        if body.get("infer", True) or emulator.settings.answers_late:
            return Answer(200, {"message": "queued", "status": "PENDING", "event_id": job.id})
        self._store(job)
        return Answer(
            200,
            {
                "message": "Memories added",
                "status": job.status,
                "event_id": job.id,
                "results": job.results,
            },
        )

    def settle(self) -> None:
        """Store what has been queued for long enough."""
        now = self._emulator.now()
        for job in self.jobs.values():
            waited = (now - job.queued_at).total_seconds()
            if job.status == "PENDING" and waited >= self._emulator.settings.event_seconds:
                self._store(job)

    def event(self, call: Call) -> Answer:
        """Answer how far an event is."""
        job = self.jobs.get(call.params["event_id"])
        if job is None:
            raise RefusedError(404, {"error": "Event not found"})
        return Answer(200, {"id": job.id, "event_type": "ADD", "status": job.status, "results": job.results})

    def _store(self, job: Job) -> None:
        messages = [message for message in job.body["messages"] if _counts(message)]
        if job.body.get("infer", True) and self._emulator.settings.extraction == "nothing":
            messages = []
        stored = [self._take(message, job.body) for message in messages]
        job.results = [one for one in stored if one is not None]
        job.status = "SUCCEEDED"

    def _take(self, message: dict[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
        emulator, text = self._emulator, message["content"]
        collapse = emulator.settings.collapse
        scope = _owner(message, body)
        is_bare = body.get("infer", True) and emulator.settings.extraction == "without_metadata"
        twin = None if collapse == "off" else emulator.store.twin(text, scope)
        if twin is not None:
            twin.received += 1
            emulator.store.touch(twin)
            return _result(twin, "NONE") if collapse == "existing_id" else None
        now = emulator.now()
        stamp = body.get("timestamp")
        memory = Memory(
            id="",
            text=text,
            scope=scope,
            created_at=now if stamp is None else moment(int(stamp)),
            updated_at=now,
            metadata=None if is_bare else body.get("metadata"),
            expiration_date=body.get("expiration_date"),
        )
        return _result(emulator.store.add(memory, at=now, messages=[message]), "ADD")


def check_add(body: dict[str, Any], raw: bytes) -> None:
    """Refuse what the service refuses.

    Raises:
        RefusedError: 400.
    """
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise RefusedError(400, {"error": "messages are required"})
    scope = [body.get(axis) for axis in AXES]
    if not any(scope) or not all(one is None or isinstance(one, str) for one in scope):
        raise RefusedError(400, {"error": "one of user_id, agent_id, app_id, run_id is required, as text"})
    if not isinstance(body.get("metadata") or {}, dict):
        raise RefusedError(400, {"error": "metadata must be an object"})
    stamp, day = body.get("timestamp"), body.get("expiration_date")
    if stamp is not None and (isinstance(stamp, bool) or not isinstance(stamp, int)):
        raise RefusedError(400, {"error": "timestamp must be an integer"})
    if day is not None and not (isinstance(day, str) and _DAY.fullmatch(day)):
        raise RefusedError(400, {"error": "expiration_date must be YYYY-MM-DD"})
    if b"\\u0000" in raw or b"\\x00" in raw:
        raise RefusedError(400, {"error": "Null characters are not allowed."})


def _counts(message: Any) -> bool:
    """Say whether a message becomes a memory: system messages and those without text do not."""
    if not isinstance(message, dict) or message.get("role") == "system":
        return False
    return isinstance(message.get("content"), str) and bool(message["content"].strip())


def _owner(message: dict[str, Any], body: dict[str, Any]) -> dict[str, str]:
    """Return whose a memory is: what is extracted is the user's or, of what the agent said, the agent's."""
    scope = {axis: str(body[axis]) for axis in AXES if body.get(axis)}
    if body.get("infer", True) and {"user_id", "agent_id"} <= scope.keys():
        del scope["user_id" if message.get("role") == "assistant" else "agent_id"]
    return scope


def _result(memory: Memory, event: str) -> dict[str, Any]:
    return {"id": memory.id, "data": {"memory": memory.text}, "event": event}
