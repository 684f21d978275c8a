"""The routes that remove things and tell of tasks. What is removed shows until its task ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from memxfer.emulation import Answer, Call, Endpoint

from .finding import Finder, missing
from .work import Effect

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["DeletingRoutes"]


class DeletingRoutes:
    """Answers deletes and questions about tasks.

    Args:
        emulator: Gives settings, store, tasks and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator
        self._finder = Finder(emulator)

    def endpoints(self, base: str) -> Sequence[Endpoint]:
        """Return the routes."""
        once = self._emulator.replays.once
        whole = [
            Endpoint("DELETE", f"{base}/{kind}s/{{uuid}}", once(self._whole(kind)))
            for kind in ("user", "graph", "thread")
        ]
        parts = [
            Endpoint("DELETE", f"{base}/graphs/{{uuid}}/{kind}s/{{part}}", once(self._part(kind)))
            for kind in ("node", "edge", "episode")
        ]
        return [
            *parts,
            *whole,
            Endpoint("GET", f"{base}/tasks", self._tasks),
            Endpoint("GET", f"{base}/tasks/{{uuid}}", self._task),
        ]

    def _whole(self, kind: str) -> Callable[[Call], Answer]:
        def handle(call: Call) -> Answer:
            found = self._finder.found(call, kind, call.params["uuid"])
            return self._removing(call, f"{kind}.delete", kind, str(found["uuid"]))

        return handle

    def _part(self, kind: str) -> Callable[[Call], Answer]:
        def handle(call: Call) -> Answer:
            found = self._finder.in_graph(call, kind, "part")
            return self._removing(call, f"graph.{kind}.delete", kind, str(found["uuid"]))

        return handle

    def _removing(self, call: Call, task: str, kind: str, uuid: str) -> Answer:
        return Answer(
            202, {"task": self._emulator.work.start(call.identity, task, [Effect("remove", kind, uuid)])}
        )

    def _task(self, call: Call) -> Answer:
        found = self._emulator.work.get(call.identity, call.params["uuid"])
        if found is None:
            raise missing("task")
        return Answer(200, found)

    def _tasks(self, call: Call) -> Answer:
        rows = self._emulator.work.listed(call.identity, call.query.get("type"), call.query.get("status"))
        return Answer(200, {"items": rows, "total_size": len(rows)})
