"""Nothing is lost without a yes, and a yes never stands for a decision."""

from __future__ import annotations

from collections.abc import Sequence

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.gaps.report import GapLine, GapReport

__all__ = ["check_consent", "parse_accepted"]

ALL = "all"


def parse_accepted(words: Sequence[str]) -> frozenset[str]:
    """Check the words of `--accept-loss`: dimensions, groups, or `all`.

    Raises:
        ConfigError: A word is none of them.
    """
    known = {ALL, *DimensionGroup, *Dimension}
    for word in words:
        if word not in known:
            names = ", ".join(sorted(str(name) for name in known - {ALL}))
            raise ConfigError(f"--accept-loss: no dimension or group {word!r}; known: all, {names}")
    return frozenset(words)


def check_consent(report: GapReport, accepted: frozenset[str]) -> None:
    """Let a move begin, or say what is missing.

    Raises:
        DecisionRequiredError: Records need a decision, or would lose what nobody agreed to lose.
    """
    blocking = [line for line in report.dimensions if line.blocking]
    if blocking:
        raise DecisionRequiredError(
            _text("a decision is needed before anything is written", blocking),
            remedies=tuple(f"in [connections.{report.target}]: {line.remedy}" for line in blocking),
        )
    losses = [line for line in report.dimensions if line.needs_consent and not _is_accepted(line, accepted)]
    if losses:
        words = ",".join(dict.fromkeys(line.dimension.value for line in losses))
        raise DecisionRequiredError(
            _text("this move would lose something that nobody has agreed to lose", losses),
            remedies=(f"--accept-loss {words}",),
        )


def _is_accepted(line: GapLine, accepted: frozenset[str]) -> bool:
    return bool(accepted & {ALL, line.dimension.value, line.group.value})


def _text(opening: str, lines: Sequence[GapLine]) -> str:
    return "\n".join([opening + ":", *(f"  {line.dimension.value}: {line.consequence}" for line in lines)])
