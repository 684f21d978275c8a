"""A client of the admin API, for tests and rehearsals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

_PAGE = 5000
_SECONDS = 60.0


class AdminClient:
    """Talks to the admin API of a running emulator.

    Args:
        base_url: The emulator's address.

    Raises:
        httpx.HTTPStatusError: From every method, when the emulator refuses (422: a bad setting or rule).
    """

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=f"{base_url}/_emulator", timeout=_SECONDS, trust_env=False)

    def configure(self, **changes: Any) -> dict[str, Any]:
        """Change settings and return all of them."""
        return self._send("POST", "/config", changes)  # type: ignore[no-any-return]  # as documented there

    def inject(self, *rules: Mapping[str, Any]) -> None:
        """Put fault rules in force instead of those there are; none clears them."""
        self._send("POST", "/faults", list(rules))

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules in force and how often each matched and fired."""
        return self._send("GET", "/faults")  # type: ignore[no-any-return]

    def summary(self) -> dict[str, Any]:
        """Return counts of what is stored and asked."""
        return self._send("GET", "/truth?summary=1")  # type: ignore[no-any-return]

    def documents(self, *, brief: bool = False) -> Iterator[dict[str, Any]]:
        """Return every stored document, page by page."""
        offset = 0
        while True:
            page = self._send("GET", f"/truth?offset={offset}&limit={_PAGE}&brief={int(brief)}")["documents"]
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def requests(self, tail: int = 100) -> dict[str, Any]:
        """Return request counters and the last calls."""
        return self._send("GET", f"/requests?tail={tail}")  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Forget everything but the settings."""
        self._send("POST", "/reset")

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        response = self._http.request(method, path, json=body)
        response.raise_for_status()
        return response.json()
