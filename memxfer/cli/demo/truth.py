"""What the emulator really holds, asked over its admin API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import httpx

__all__ = ["Truth"]

_PAGE = 500


class Truth:
    """The admin API of a running emulator.

    Args:
        base_url: Its address.
    """

    def __init__(self, base_url: str) -> None:
        # trust_env: a proxy of the user's would not reach this machine's loopback
        self._client = httpx.Client(base_url=f"{base_url}/_emulator", trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def distinct(self) -> int:
        """Return how many different documents are stored."""
        return int(self._get("/truth", summary=1)["distinct_ids"])

    def received(self) -> int:
        """Return how many documents have arrived, repeats included."""
        return int(self._get("/truth", summary=1)["received"])

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield every stored document with what was sent and how often it is stored."""
        offset = 0
        while page := self._get("/truth", offset=offset, limit=_PAGE, brief=1)["documents"]:
            yield from page
            offset += len(page)

    def answer_slowly(self, seconds: float) -> None:
        """Add `seconds` to each answer from now on."""
        self._client.post("/config", json={"latency_seconds": seconds}).raise_for_status()

    def _get(self, path: str, **query: int) -> dict[str, Any]:
        answer = self._client.get(path, params=query).raise_for_status()
        body: dict[str, Any] = answer.json()
        return body
