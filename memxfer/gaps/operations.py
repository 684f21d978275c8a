"""What a move between two backends means whatever the records are: listing, sending twice, reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memxfer.capabilities import Capabilities, ClientKey, Dimension, DimensionGroup
from memxfer.gaps.report import Concern, GapLine, Verdict

__all__ = ["End", "operation_lines"]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a move.

    Attributes:
        name: The connection's.
        capabilities: What it can.
        can_look_up: Whether a target can be asked which keys it holds.
        allows_widening: Whether the user decided that owners may become one there.
    """

    name: str
    capabilities: Capabilities
    can_look_up: bool = False
    allows_widening: bool = False


def operation_lines(source: End, target: End, *, hidden: int = 0) -> Iterator[GapLine]:
    """Give the lines that no record is counted for.

    Args:
        source: Where the records are.
        target: Where they would go.
        hidden: Rows that the source counts and did not give.
    """
    yield _read_time(Dimension.PACKAGING, source, target)
    yield _read_time(Dimension.SEARCH, source, target)
    yield _listing(source, hidden)
    yield _sending(target)
    yield from _own_operations(source, target)


def _read_time(dimension: Dimension, source: End, target: End) -> GapLine:
    """Compare what apps can ask for at run time: nothing of it is in the records."""
    field = "package" if dimension is Dimension.PACKAGING else "search"
    has = getattr(source.capabilities.read_time, field)
    gets = getattr(target.capabilities.read_time, field)
    what = "prompt-ready context" if dimension is Dimension.PACKAGING else "search"
    if has and not gets:
        verdict, text = Verdict.AT_RISK, f"Apps that ask {source.name} for {what} cannot ask {target.name}."
    elif gets and not has:
        verdict = Verdict.READ_TIME_ONLY
        text = f"{target.name} offers {what} when it is read; nothing of it is moved."
    else:
        verdict, text = Verdict.KEPT, f"Both offer {what}." if has else f"Neither offers {what}."
    return GapLine(
        dimension=dimension,
        group=DimensionGroup.PACKAGING,
        source="native" if has else "none",
        target="native" if gets else "none",
        verdict=verdict,
        consequence=text,
    )


def _listing(source: End, hidden: int) -> GapLine:
    paging = source.capabilities.paging
    is_safe = not hidden and paging is not None and paging.insert_safe and paging.delete_safe
    remedy = "" if is_safe else "stop the app from writing there during the move"
    if hidden:
        text = f"{source.name} says it holds {hidden:,} more rows than it gave; they would not be moved."
        remedy = "read it again; if they stay away, ask whoever runs it why they are not listed"
    elif is_safe:
        text = f"{source.name} can be written to while it is read: no memory is missed or comes twice."
    else:
        text = (
            f"Memories that are added to {source.name} or removed from it while it is read "
            "may be missed or come twice."
        )
    return GapLine(
        dimension=Concern.LISTING,
        group=DimensionGroup.CONTEXT,
        source="native" if is_safe else "lossy",
        target="native",
        verdict=Verdict.KEPT if is_safe else Verdict.AT_RISK,
        consequence=text,
        records=hidden,
        remedy=remedy,
    )


_HARMLESS = "{{target}} {} a document that comes again, so an answer that is lost does no harm."
_SENDING = {
    ClientKey.UPSERT: (Verdict.KEPT, _HARMLESS.format("replaces")),
    ClientKey.DEDUPE: (Verdict.KEPT, _HARMLESS.format("recognises")),
    ClientKey.REJECT: (Verdict.KEPT, _HARMLESS.format("refuses")),
    ClientKey.UNKNOWN: (Verdict.UNKNOWN, "Nobody knows what {target} does with a document that comes again."),
    ClientKey.APPEND: (Verdict.AT_RISK, "{target} stores a document that comes again a second time."),
    ClientKey.NONE: (Verdict.AT_RISK, "{target} cannot tell a document that comes again from a new one."),
}


def _sending(target: End) -> GapLine:
    writing = target.capabilities.writing
    key = writing.client_key if writing else ClientKey.NONE
    verdict, text = _SENDING[key]
    remedy = ""
    if verdict is Verdict.UNKNOWN:
        remedy = f"memxfer providers check {target.name} --probe"
    elif verdict is Verdict.AT_RISK and target.can_look_up:
        verdict, text = Verdict.KEPT, f"{text} memxfer looks it up before it sends one again."
    elif verdict is Verdict.AT_RISK:
        text = f"{text} Where an answer is lost, the job stops and asks."
    return GapLine(
        dimension=Concern.REPEATS,
        group=DimensionGroup.CONTEXT,
        source="native",
        target={Verdict.KEPT: "native", Verdict.UNKNOWN: "unknown"}.get(verdict, "none"),
        verdict=verdict,
        consequence=text.replace("{target}", target.name),
        remedy=remedy,
    )


def _own_operations(source: End, target: End) -> Iterator[GapLine]:
    """Name what only the source can do: apps that use it have to be changed."""
    for name, extension in source.capabilities.custom.items():
        if extension.carried == "per_record" or name in target.capabilities.custom:
            continue
        yield GapLine(
            dimension=name,
            group=DimensionGroup.EXTENSIONS,
            source="native",
            target="none",
            verdict=Verdict.READ_TIME_ONLY,
            consequence=f"{source.name} offers {extension.description}; {target.name} does not.",
        )
