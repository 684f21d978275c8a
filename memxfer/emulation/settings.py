"""Settings that every emulator has; a provider's emulator adds its own."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

RetryAfterStyle = Literal["integer", "decimal", "date", "absent"]


class RateLimit(BaseModel):
    """A token bucket per API key.

    A bucket starts full with `burst` requests and refills at `per_minute`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_minute: float = Field(gt=0, description="requests that refill per minute")
    burst: int = Field(default=10, ge=1, description="requests that may come at once")
    retry_after_style: RetryAfterStyle = Field(
        default="integer", description="how Retry-After is written; 'absent' leaves it out"
    )


class EmulatorSettings(BaseModel):
    """How an emulator behaves; changed at run time by `POST /_emulator/config`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_seconds: float = Field(default=0.0, ge=0, description="added to every answer")
    rate_limit: RateLimit | None = Field(default=None, description="none unless set")
    request_bytes: int = Field(default=10_000_000, ge=1, description="larger bodies get 413")

    def updated(self, changes: dict[str, Any]) -> Self:
        """Return a copy with `changes` merged in (nested objects are merged too).

        Raises:
            pydantic.ValidationError: An unknown name or a bad value.
        """
        return self.model_validate(_merged(self.model_dump(mode="json"), changes))


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {**old}
    for name, value in new.items():
        before = old.get(name)
        nested = isinstance(value, dict) and isinstance(before, dict)
        both[name] = _merged(before, value) if nested and before else value
    return both
