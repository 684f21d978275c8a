"""Exit codes, all of them, in one place.

The first that applies: 130 interrupted; 2 usage or configuration; 3 a consent or decision is
missing; 4 a backend refuses for good (key, quota) or does not answer; 5 incomplete or uncertain;
1 records failed; 0 clean. 141 (128 + SIGPIPE) stands apart: the
command did its work, and what it printed could not be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memxfer.errors import (
    AmbiguousError,
    ConfigError,
    DecisionRequiredError,
    InterruptedRunError,
    LedgerError,
    MemxferError,
    ProviderError,
    RecordError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from memxfer.migration.probing import ProbeReport
    from memxfer.migration.results import JobResult

__all__ = [
    "CLEAN",
    "DECISION",
    "ERRORS",
    "FAILED",
    "INCOMPLETE",
    "INTERRUPTED",
    "MEANINGS",
    "PROVIDER",
    "UNWRITTEN",
    "USAGE",
    "code_of_error",
    "code_of_probe",
    "code_of_result",
]

CLEAN = 0
FAILED = 1
USAGE = 2
DECISION = 3
PROVIDER = 4
INCOMPLETE = 5
INTERRUPTED = 130
UNWRITTEN = 141

MEANINGS = {
    CLEAN: "clean: every record is accounted for, and none failed",
    FAILED: "records failed or were rejected, or a probe could not remove what it wrote; or a bug of memxfer",
    USAGE: "wrong usage, configuration or state folder; nothing was moved, or the job keeps its place",
    DECISION: "a consent or decision is missing; nothing was moved beyond what was agreed to",
    PROVIDER: "a backend refuses (key, quota) or does not answer; the job keeps its place",
    INCOMPLETE: "not everything has arrived, or it cannot be told; `memxfer resume JOB` goes on",
    INTERRUPTED: "stopped by Ctrl-C or SIGTERM; `memxfer resume JOB` goes on",
    UNWRITTEN: "the output could not be written: its reader went away (`| head`), or its disk is full",
}
"""What each code tells a script."""

ERRORS: tuple[tuple[type[MemxferError], int], ...] = (
    (InterruptedRunError, INTERRUPTED),
    (DecisionRequiredError, DECISION),
    (ConfigError, USAGE),
    (LedgerError, USAGE),
    (UnsupportedOperationError, USAGE),
    (AmbiguousError, INCOMPLETE),
    (RecordError, FAILED),
    (ProviderError, PROVIDER),
    (MemxferError, FAILED),
)
"""The first class that fits an error gives its code."""

_CAUSES = {
    "interrupted": INTERRUPTED,
    "decision": DECISION,
    "config": USAGE,
    "auth": PROVIDER,
    "quota": PROVIDER,
    "fatal": PROVIDER,
    "unavailable": PROVIDER,
    "ledger": INCOMPLETE,
}
_STATUSES = {
    "interrupted": INTERRUPTED,
    "running": INCOMPLETE,
    "incomplete": INCOMPLETE,
    "paused": INCOMPLETE,
}


def code_of_error(error: MemxferError) -> int:
    """Return the exit code for an error that ended a command."""
    return next(code for kind, code in ERRORS if isinstance(error, kind))


def code_of_result(result: JobResult) -> int:
    """Return the exit code for how a job stands."""
    if result.cause in _CAUSES:
        return _CAUSES[result.cause]
    if result.status.value in _STATUSES:
        return _STATUSES[result.status.value]
    if result.counts.uncertain:
        return INCOMPLETE
    if result.status.value != "completed" or result.counts.failed or result.counts.rejected:
        return FAILED
    return CLEAN


def code_of_probe(report: ProbeReport) -> int:
    """Return the exit code for what a probe saw; a claim that was not met is no failure."""
    if report.cause in _CAUSES:
        return _CAUSES[report.cause]
    return FAILED if report.leftovers or report.status.value != "completed" else CLEAN
