"""What matters beyond having a dimension or not: facts that have ended, odd dates, reserved keys.

Each row is a test on one record, asked only of records that carry its dimension, and only where the
two ends of a move make it matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.gaps.report import Verdict
from memxfer.models import MemoryRecord

__all__ = ["CHECKS", "Check", "Outlook", "checks_for", "is_finer"]

_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
_SLACK = timedelta(days=1)
_FINENESS = {"day": 86_400_000_000, "second": 1_000_000, "millisecond": 1_000}
"""Microseconds of the finest step of a target's times."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a test may look at besides the record.

    Attributes:
        target: The target's capabilities.
        now: The moment of the scan.
        latest: What lies after this is in the future; clocks may differ by a day.
    """

    target: Capabilities
    now: datetime
    latest: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "latest", self.now + _SLACK)


@dataclass(frozen=True, slots=True)
class Check:
    """One test.

    Attributes:
        name: Unique among the checks.
        dimension: Asked of records that carry it, and reported under it.
        matters: Whether the test says anything about a move to this target.
        finds: The test.
        verdict: What it means for the records found.
        text: The same in words, following "n memories"; `{target}` is the target's name.
        remedy: What to do about it.
    """

    name: str
    dimension: Dimension
    matters: Callable[[Outlook], bool]
    finds: Callable[[MemoryRecord, Outlook], bool]
    verdict: Verdict
    text: str
    remedy: str = ""


def checks_for(outlook: Outlook) -> dict[Dimension, tuple[Check, ...]]:
    """Return the checks that matter for a move, by dimension."""
    found: dict[Dimension, tuple[Check, ...]] = {}
    for check in CHECKS:
        if check.matters(outlook):
            found[check.dimension] = (*found.get(check.dimension, ()), check)
    return found


def _is_ended(record: MemoryRecord, outlook: Outlook) -> bool:
    validity = record.validity
    if validity is None:
        return False
    ends = (validity.valid_to, validity.invalidated_at)
    return any(end is not None and end <= outlook.now for end in ends)


def _is_oddly_dated(record: MemoryRecord, outlook: Outlook) -> bool:
    # asked of nearly every record: no list, no loop
    created, updated = record.created_at, record.updated_at
    if created is not None and not _OLDEST <= created <= outlook.latest:
        return True
    return updated is not None and not _OLDEST <= updated <= outlook.latest


def is_finer(record: MemoryRecord, step: str) -> bool:
    """Tell whether a record's creation time is cut by a target that keeps whole `step`s."""
    at = record.created_at
    if at is None or step not in _FINENESS:
        return False
    of_day = ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond
    return bool(of_day % _FINENESS[step])


def _step(outlook: Outlook) -> str:
    writing = outlook.target.writing
    return writing.backdates if writing else "none"


def _uses_reserved_keys(record: MemoryRecord, outlook: Outlook) -> bool:
    return not outlook.target.limits.reserved_keys.isdisjoint(record.metadata)


def _is_extracting(outlook: Outlook) -> bool:
    writing = outlook.target.writing
    return writing is not None and not writing.verbatim


def _write(dimension: Dimension) -> Callable[[Outlook], Level]:
    return lambda outlook: outlook.target.channel(dimension).write


def _always(*_: Any) -> bool:
    return True


CHECKS: tuple[Check, ...] = (
    Check(
        "ended",
        Dimension.VALIDITY,
        lambda outlook: _write(Dimension.VALIDITY)(outlook) is not Level.NATIVE,
        _is_ended,
        Verdict.AT_RISK,
        "tell something that has ended; in {target} it looks true again",
        "leave them out, or have the app tell old from new",
    ),
    Check(
        "expired",
        Dimension.EXPIRY,
        lambda outlook: _write(Dimension.EXPIRY)(outlook) is not Level.NATIVE,
        lambda record, outlook: record.expires_at is not None and record.expires_at <= outlook.now,
        Verdict.AT_RISK,
        "have expired; {target} shows them like current ones",
        "leave them out, if the app must not see them again",
    ),
    Check(
        "odd_dates",
        Dimension.CREATED_AT,
        _always,
        _is_oddly_dated,
        Verdict.AT_RISK,
        f"are dated before {_OLDEST.year} or in the future; what sorts or forgets by date will be misled",
        "look at the samples; correct them in the source if they are mistakes",
    ),
    Check(
        "precision",
        Dimension.CREATED_AT,
        lambda outlook: _step(outlook) in _FINENESS and _write(Dimension.CREATED_AT)(outlook) is Level.NATIVE,
        lambda record, outlook: is_finer(record, _step(outlook)),
        Verdict.APPROXIMATED,
        "have a creation time finer than {target} keeps",
    ),
    Check(
        "reserved_keys",
        Dimension.METADATA,
        lambda outlook: bool(outlook.target.limits.reserved_keys),
        _uses_reserved_keys,
        Verdict.KEPT,
        "use metadata keys that memxfer sends too; theirs stay, and memxfer's go elsewhere or are left out",
    ),
    Check(
        "derived_twice",
        Dimension.DERIVED,
        _is_extracting,
        _always,
        Verdict.AT_RISK,
        "were derived from others; {target} derives its own, so what they say may be there twice",
        "move what they were derived from alone",
    ),
)
