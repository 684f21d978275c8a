"""Nothing is lost without a yes, and a yes never stands for a decision."""

from __future__ import annotations

from collections.abc import Sequence

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.gaps.report import Concern, GapLine, GapReport, Verdict

__all__ = [
    "accepts_ignored",
    "check_consent",
    "missing_consent",
    "parse_accepted",
    "verdicts_to_accept",
    "words_for",
]

ALL = "all"


def parse_accepted(words: Sequence[str]) -> frozenset[str]:
    """Check the words of `--accept-loss`: dimensions, groups, `ignored`, or `all`.

    Raises:
        ConfigError: A word is none of them.
    """
    known = {ALL, *DimensionGroup, *Dimension, Concern.IGNORED}
    unknown = [repr(word) for word in dict.fromkeys(words) if word not in known]
    if unknown:
        names = ", ".join(sorted(str(name) for name in known - {ALL}))
        raise ConfigError(f"--accept-loss: no dimension or group {', '.join(unknown)}; known: all, {names}")
    return frozenset(words)


def verdicts_to_accept(*, keeps_originals: bool) -> tuple[Verdict, ...]:
    """Return the verdicts that need consent.

    Args:
        keeps_originals: Whether a residue keeps what the target alters. Where it does not, what is
            only approximated needs consent too, for nothing is left to restore it from.
    """
    return (Verdict.LOST,) if keeps_originals else (Verdict.LOST, Verdict.APPROXIMATED)


def missing_consent(
    report: GapReport, accepted: frozenset[str], *, keeps_originals: bool = True
) -> list[GapLine]:
    """Return the lines whose loss nobody has agreed to.

    Args:
        report: What would be lost.
        accepted: From `parse_accepted`.
        keeps_originals: As for `verdicts_to_accept`.
    """
    verdicts = verdicts_to_accept(keeps_originals=keeps_originals)
    return [
        line
        for line in report.dimensions
        if line.verdict in verdicts
        and line.records
        and not line.blocking
        and not _is_accepted(line, accepted)
    ]


def check_consent(report: GapReport, accepted: frozenset[str], *, keeps_originals: bool = True) -> None:
    """Let a move begin, or say all that is missing; the arguments are those of `missing_consent`.

    Raises:
        DecisionRequiredError: Records need a decision, or would lose what nobody agreed to lose; all
            that is missing at once, each decision and the consent with its remedy.
    """
    blocking = [line for line in report.dimensions if line.blocking]
    losses = missing_consent(report, accepted, keeps_originals=keeps_originals)
    texts: list[str] = []
    remedies: list[str] = []
    if blocking:
        texts.append(_text("a decision is needed before anything is written", blocking))
        remedies += [f"in [connections.{report.target}]: {line.remedy}" for line in blocking]
    if losses:
        texts.append(_text("this move would lose something that nobody has agreed to lose", losses))
        remedies.append(f"--accept-loss {words_for(losses)}")
    if texts:
        raise DecisionRequiredError("\n".join(texts), remedies=tuple(remedies))


def words_for(lines: Sequence[GapLine]) -> str:
    """Return what `--accept-loss` takes to agree to the losses of `lines`."""
    return ",".join(dict.fromkeys(_word(line) for line in lines))


def _is_accepted(line: GapLine, accepted: frozenset[str]) -> bool:
    if line.dimension == Concern.IGNORED:
        return accepts_ignored(accepted)
    return bool(accepted & {ALL, line.dimension, line.group.value})


def accepts_ignored(accepted: frozenset[str]) -> bool:
    """Tell whether rows may be left out; consent to a group is about what memories carry."""
    return bool(accepted & {ALL, Concern.IGNORED})


def _word(line: GapLine) -> str:
    """Return what to accept: an extension of the source's own is accepted with its group."""
    has_own_word = line.dimension == Concern.IGNORED or line.dimension in set(Dimension)
    return line.dimension if has_own_word else line.group.value


def _text(opening: str, lines: Sequence[GapLine]) -> str:
    return "\n".join([opening + ":", *(f"  {line.dimension}: {line.consequence}" for line in lines)])
