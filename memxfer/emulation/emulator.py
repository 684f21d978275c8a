"""What all emulators share; a provider's emulator adds the wire and the store."""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

from starlette.applications import Starlette
from starlette.routing import Mount, compile_path

from .admin import admin_routes
from .exchange import Answer, Call
from .faults import FaultPlan
from .limits import RateLimiter
from .settings import EmulatorSettings
from .tally import RequestTally
from .wire import Wire

SettingsT = TypeVar("SettingsT", bound=EmulatorSettings)


@dataclass(frozen=True)
class Endpoint:
    """One route of a backend.

    Args:
        method: HTTP method.
        path: Path template; `{name}` is one segment, `{name:path}` the rest.
        handler: Answers the call; raises `RefusedError` for errors. Runs on the event loop: no waiting.
        is_open: Whether the route needs no key (and is not rate limited).
    """

    method: str
    path: str
    handler: Callable[[Call], Answer]
    is_open: bool = False


class Routes:
    """Finds the endpoint of a request: exact paths by name, templates in the order declared."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._exact = {(one.method, one.path): one for one in endpoints if "{" not in one.path}
        self._templates = [(self._pattern(one.path), one) for one in endpoints if "{" in one.path]

    @staticmethod
    def _pattern(path: str) -> re.Pattern[str]:
        return compile_path(path)[0]

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint and its path parameters."""
        exact = self._exact.get((method, path))
        if exact:
            return exact, {}
        for pattern, endpoint in self._templates:
            found = pattern.match(path) if endpoint.method == method else None
            if found:
                return endpoint, found.groupdict()
        return None


class Emulator(ABC, Generic[SettingsT]):
    """Base of a local stand-in for a hosted backend, built from its public documentation.

    A subclass names itself, declares its routes, knows who a caller is, and can tell the truth about
    what it stored. Faults, rate limits, counters and the admin API come with this class. Every subclass
    takes `state_path`, the SQLite file that survives restarts (temporary when `None`).

    Attributes:
        name: The backend's name, as in `memxfer emulate NAME`.
        settings_model: The settings class; `settings_model()` must be usable as it is.
        row_field: Name of the list of rows in a batch answer.
        row_id_fields: Ids of a row that the `null_ids` fault erases in failed rows.

    Args:
        settings: How to behave; the defaults when left out.
        clock: Epoch seconds; tests pass their own.
        sleep: Awaits latency and delays; tests pass their own.
    """

    name: ClassVar[str]
    settings_model: ClassVar[type[EmulatorSettings]]
    row_field: ClassVar[str] = "results"
    row_id_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        settings: SettingsT | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self.tally = RequestTally()
        self.faults = FaultPlan()
        self.apply(settings if settings is not None else cast("SettingsT", self.settings_model()))
        self.routes = Routes(self.endpoints())
        self.app = Starlette(
            routes=[Mount("/_emulator", routes=admin_routes(self)), Mount("", app=Wire(self))]
        )

    @property
    def api_key(self) -> str:
        """A key that it takes now; empty where it takes any."""
        return ""

    @property
    def label(self) -> str:
        """Value of the `X-Emulator` header that every answer carries."""
        return f"memxfer {self.name} emulator, built from public documentation"

    def apply(self, settings: SettingsT) -> None:
        """Take new settings; rate-limit buckets start full again when the limit changes."""
        before = getattr(self, "settings", None)
        self.settings = settings
        if before is None or before.rate_limit != settings.rate_limit:
            self.limiter = RateLimiter(settings.rate_limit, clock=self.clock)

    def reset(self) -> None:
        """Forget faults, counters and everything stored; settings stay."""
        self.faults = FaultPlan()
        self.tally.clear()
        self.limiter = RateLimiter(self.settings.rate_limit, clock=self.clock)
        self.clear()

    def error(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an error in the backend's format; the default is FastAPI's `{"detail": ...}`."""
        return Answer(status, {"detail": detail}, headers or {})

    def presets(self) -> Mapping[str, Answer]:
        """Return the answers that fault rules may call by name."""
        return {"rate_limited": self.error(429, "Rate limit exceeded")}

    def is_failed_row(self, row: Mapping[str, Any]) -> bool:
        """Say whether a row of a batch answer reports a failure (for `null_ids`)."""
        return row.get("status") == "failed"

    @abstractmethod
    def endpoints(self) -> Sequence[Endpoint]:
        """Return the backend's routes."""

    @abstractmethod
    def authenticate(self, call: Call) -> tuple[str, Any]:
        """Return the rate-limit key and the identity that handlers find in `call.identity`.

        Raises:
            RefusedError: 401 or 403.
        """

    @abstractmethod
    def truth(self, offset: int, limit: int, *, brief: bool) -> Mapping[str, Any]:
        """Return a page of what is stored, without what is derived when `brief`; tests' oracle."""

    @abstractmethod
    def summary(self) -> Mapping[str, Any]:
        """Return counts only; fast however much is stored."""

    @abstractmethod
    def clear(self) -> None:
        """Delete everything stored."""

    @abstractmethod
    def banner(self) -> str:
        """Return one line on how to log in, for whoever starts the emulator."""

    def close(self) -> None:
        """Release files; the emulator is not used afterwards."""
