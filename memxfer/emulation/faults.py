"""Scripted and seeded faults: what a network or a backend does on its worst day."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .settings import RetryAfterStyle

RowFault = Literal["duplicated", "reordered", "null_ids"]


class FaultMatch(BaseModel):
    """Which requests a rule fires on; every condition given must hold.

    `nth`, `from_nth` and `every` count the requests that match method and path, from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str | None = None
    path: str | None = Field(default=None, description="the path starts with this")
    path_regex: str | None = Field(default=None, description="the whole path matches this")
    nth: int | None = Field(default=None, ge=1, description="only this one")
    from_nth: int | None = Field(default=None, ge=1, description="this one and all later ones")
    every: int | None = Field(default=None, ge=1, description="every k-th")
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = Field(default=0, description="makes probability repeatable")
    times: int | None = Field(default=None, ge=1, description="fire at most so often")

    def covers(self, method: str, path: str) -> bool:
        """Say whether method and path match; counts are the rule's affair."""
        return (
            (self.method is None or self.method.upper() == method)
            and (self.path is None or path.startswith(self.path))
            and (self.path_regex is None or re.fullmatch(self.path_regex, path) is not None)
        )

    def allows(self, count: int) -> bool:
        """Say whether the `count`-th covered request is meant."""
        return (
            (self.nth is None or count == self.nth)
            and (self.from_nth is None or count >= self.from_nth)
            and (self.every is None or count % self.every == 0)
        )


class FaultAction(BaseModel):
    """What happens instead of, or after, the backend's work.

    `when="before"`: the request is not processed. `when="after"`: it is processed and committed,
    then the answer is changed. With only `delay_seconds` the answer itself stays as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: Literal["before", "after"] = "before"
    delay_seconds: float = Field(default=0.0, ge=0)
    status: int | None = Field(default=None, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = Field(default=None, description="JSON; without it errors get a plain detail")
    preset: str | None = Field(default=None, description="an answer that the emulator knows by name")
    retry_after: RetryAfterStyle | None = None
    retry_after_seconds: float = Field(default=1.0, ge=0)
    close: Literal["eof", "reset"] | None = Field(default=None, description="end the connection, no answer")
    cut: int | None = Field(default=None, ge=0, description="bytes of the body sent before the end")
    malformed: bool = Field(default=False, description="a complete answer that is not JSON")
    rows: tuple[RowFault, ...] = Field(default=(), description="spoil the rows of a batch answer")

    @model_validator(mode="after")
    def _check_when(self) -> Self:
        if self.when == "before" and (self.rows or self.malformed or self.cut is not None):
            raise ValueError("rows, malformed and cut change a real answer: set when to 'after'")
        return self

    @property
    def is_refusal(self) -> bool:
        """Whether a `before` action ends the request, not just delays it."""
        return self.status is not None or self.preset is not None or self.close is not None


class FaultRule(BaseModel):
    """One rule of `POST /_emulator/faults`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    match: FaultMatch = FaultMatch()
    action: FaultAction


@dataclass
class _Armed:
    rule: FaultRule
    name: str
    dice: random.Random
    seen: int = 0
    fired: int = 0

    def is_due(self, method: str, path: str) -> bool:
        match = self.rule.match
        if not match.covers(method, path):
            return False
        self.seen += 1
        # the dice roll on every covered request, so that a run depends on the seed alone
        lucky = match.probability >= 1 or self.dice.random() < match.probability
        spent = match.times is not None and self.fired >= match.times
        return lucky and not spent and match.allows(self.seen)


class FaultPlan:
    """The rules in force; the first that fires decides."""

    def __init__(self, rules: Sequence[FaultRule] = ()) -> None:
        self._armed = [
            _Armed(rule, rule.name or f"rule-{number}", random.Random(rule.match.seed))  # noqa: S311 - not a secret
            for number, rule in enumerate(rules, 1)
        ]

    def draw(self, method: str, path: str) -> tuple[str, FaultAction | None]:
        """Return the name and action of the first rule that fires on this request, or `("", None)`."""
        due = [armed for armed in self._armed if armed.is_due(method, path)]
        if not due:
            return "", None
        due[0].fired += 1
        return due[0].name, due[0].rule.action

    def report(self) -> list[dict[str, Any]]:
        """Return every rule with how often it was matched and fired."""
        return [
            {
                "name": armed.name,
                "seen": armed.seen,
                "fired": armed.fired,
                **armed.rule.model_dump(mode="json"),
            }
            for armed in self._armed
        ]
