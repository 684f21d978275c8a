"""What was seen of a backend by trying, and what becomes of a declared claim then.

A claim is a path into `Capabilities` and a word: `writing.client_key` is `upsert`,
`dimensions.tags.write` is `native`. `operations.lookup`, `operations.get` and `operations.delete` are
`yes` where the provider has the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from memxfer.capabilities import Capabilities, ClientKey, Dimension, Evidence, Level

__all__ = ["OPERATIONS", "Finding", "applied", "declared_word", "weaker", "withdrawn"]

OPERATIONS = ("lookup", "get", "delete")
"""Optional operations that can turn out not to do what they promise."""

_LEVELS = ("native", "lossy", "envelope", "none")
_BOOLEANS = ("true", "false")
_UNKNOWN = ClientKey.UNKNOWN.value
_ORDERS: dict[str, tuple[str, ...]] = {
    "writing.client_key": ("upsert", "dedupe", "reject", "append", "none"),
    "writing.acknowledges": ("sync", "async"),
    "writing.reports_ids": _BOOLEANS,
    "writing.verbatim": _BOOLEANS,
    "writing.backdates": ("microsecond", "millisecond", "second", "day", "none"),
    "writing.rollback": ("id", "tag", "scope", "none"),
    "read_time.levels": ("merged", "isolated"),
    **{f"dimensions.{dimension}.write": _LEVELS for dimension in Dimension},
    **{f"operations.{name}": ("yes", "no") for name in OPERATIONS},
}
"""What may be said of each claim, from the most that a plan may count on to the least.

For `client_key`, less means more care about a document that may have arrived: `upsert` and `dedupe`
send it again, `reject` once, `append` and `none` never without asking. For `levels`, `isolated` means that
every level has to be asked.
"""


class Finding(BaseModel):
    """What was seen of one claim.

    Attributes:
        path: The claim.
        found: The word that fits what was seen.
        note: One sentence, when the word alone does not tell the story. Never quotes content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    found: str
    note: str = ""

    @model_validator(mode="after")
    def _says_something_known(self) -> Self:
        words = _ORDERS.get(self.path)
        if words is not None and self.found not in words:
            raise ValueError(f"{self.path} cannot be {self.found!r}")
        return self


def weaker(path: str, declared: str, found: str) -> str:
    """Return the more careful of two words about one claim; `unknown` gives way to what was found."""
    order = _ORDERS[path]
    if declared == _UNKNOWN:
        return found
    return max(declared, found, key=order.index)


def declared_word(capabilities: Capabilities, path: str) -> str | None:
    """Return what `capabilities` says of a claim; `None` where it makes none."""
    part, _, name = path.partition(".")
    if path not in _ORDERS or part == "operations":
        return None
    if part == "writing":
        return _word(getattr(capabilities.writing, name)) if capabilities.writing else None
    if part == "read_time":
        levels = capabilities.read_time.levels
        return None if levels == "none" else levels
    channel = capabilities.dimensions.get(_dimension(path))
    return channel.write.name.lower() if channel else None


def applied(capabilities: Capabilities, findings: Sequence[Finding]) -> Capabilities:
    """Return `capabilities` with what was found: nothing better than declared, and marked as probed.

    What a connection does not claim (any more), and paths of a later memxfer, are left alone.
    """
    for finding in findings:
        declared = declared_word(capabilities, finding.path)
        if declared is None:
            continue
        evidence = {**capabilities.evidence, finding.path: Evidence.PROBED}
        capabilities = capabilities.model_copy(update={"evidence": evidence})
        word = weaker(finding.path, declared, finding.found)
        if word != declared:
            capabilities = _lowered(capabilities, finding, word)
    return capabilities


def withdrawn(findings: Sequence[Finding]) -> frozenset[str]:
    """Return the optional operations that do not do what they promise."""
    return frozenset(
        name
        for name in OPERATIONS
        for one in findings
        if one.path == f"operations.{name}" and one.found == "no"
    )


def _dimension(path: str) -> Dimension:
    return Dimension(path.split(".")[1])


def _lowered(capabilities: Capabilities, finding: Finding, word: str) -> Capabilities:
    part, _, name = finding.path.partition(".")
    if part == "dimensions":
        dimension = _dimension(finding.path)
        channel = capabilities.dimensions[dimension]
        less = {"write": Level[word.upper()], "note": finding.note or channel.note}
        changed = {**capabilities.dimensions, dimension: channel.model_copy(update=less)}
        return capabilities.model_copy(update={"dimensions": changed})
    if part == "read_time":
        read_time = capabilities.read_time.model_copy(update={name: word})
        return capabilities.model_copy(update={"read_time": read_time})
    if capabilities.writing is None:
        return capabilities
    writing = capabilities.writing.model_copy(update={name: _value(name, word)})
    return capabilities.model_copy(update={"writing": writing})


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, word: str) -> Any:
    if name == "client_key":
        return ClientKey(word)
    return word == "true" if word in _BOOLEANS else word
