"""Zep's answers as JSON, and what is read from them everywhere. Needs no SDK and no HTTP client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from memxfer.spi import parse_time

__all__ = ["GONE", "Answered", "plain", "time_of"]

GONE: Final = "not_found"
"""Code of the error when Zep itself says that something is not there."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to a write.

    Attributes:
        body: Its JSON.
        at: When the service sent it, by its own clock; `None` where it does not say.
        request_id: The service's id of the request.
    """

    body: dict[str, Any]
    at: datetime | None = None
    request_id: str | None = None

    @property
    def task(self) -> str | None:
        """The uuid of the task that finishes the work."""
        task = self.body.get("task")
        found = task.get("uuid") if isinstance(task, dict) else None
        return found if isinstance(found, str) and found else None

    def rows(self, name: str) -> list[str]:
        """Return the uuids of a list of the answer, in order; those that are none are left out."""
        rows = self.body.get(name)
        found = [row.get("uuid") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [uuid for uuid in found if isinstance(uuid, str) and uuid]


def plain(model: Any) -> dict[str, Any]:
    """Return a model of the SDK's as the JSON it was read from, unknown fields included."""
    if isinstance(model, dict):
        return model
    found: dict[str, Any] = model.model_dump(by_alias=True, exclude_unset=True)
    return found


def time_of(text: Any) -> datetime | None:
    """Return a time of Zep's; `None` for what is none."""
    try:
        return parse_time(text)
    except (ValueError, TypeError):
        return None
