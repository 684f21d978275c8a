"""From what was seen to one verdict per claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memxfer.capabilities import Capabilities, ClientKey, Dimension, Level, Writing
from memxfer.migration.evidence import Claim, ClaimVerdict
from memxfer.migration.probing.cleaning import Removal
from memxfer.migration.probing.comparing import Carried, claims_of_dimensions, precision_of
from memxfer.migration.probing.levels import LevelTrial
from memxfer.migration.probing.looking import LookupTrial
from memxfer.migration.probing.policy import KeyTrial, judge_key
from memxfer.migration.probing.reading import ReadBack
from memxfer.migration.probing.sending import Sent
from memxfer.spi import LookupVisibility, Outcome
from memxfer.spi.learning import weaker

__all__ = ["Observations", "claims_of"]

_BOUNDS = "filling a backend to its limits costs too much"


@dataclass(slots=True)
class Observations:
    """Everything one probe saw.

    Attributes:
        target: The connection's capabilities as a target.
        source: Its capabilities as a source; `None`: it is none, or could not be opened as one.
        key: Three documents under one key.
        carried: Records that carry dimensions, as they were sent and came back.
        refused: Dimensions that no record could be given, and why.
        visibility: When the look-up promises to find things; `None`: there is none.
        lookup: What the look-up gave.
        levels: What questions at two levels gave.
        read: What was read back; `None`: nothing was tried.
        unread: Why nothing was read back; empty if something was.
        can_get: Whether records can be asked for by id.
        can_delete: Whether documents can be removed.
        removals: What became of them.
    """

    target: Capabilities
    source: Capabilities | None = None
    key: KeyTrial = field(default_factory=KeyTrial)
    carried: list[Carried] = field(default_factory=list)
    refused: Mapping[Dimension, str] = field(default_factory=dict)
    visibility: LookupVisibility | None = None
    lookup: LookupTrial = field(default_factory=LookupTrial)
    levels: LevelTrial = field(default_factory=LevelTrial)
    read: ReadBack | None = None
    unread: str = "nothing was read back"
    can_get: bool = False
    can_delete: bool = False
    removals: Sequence[Removal] = ()


def claims_of(seen: Observations) -> tuple[Claim, ...]:
    """Return every claim of the connection that promises something, and how it came out."""
    writing = seen.target.writing or Writing()
    return (
        _client_key(seen, writing),
        *_answers(seen, writing),
        *_texts(seen, writing),
        *_operations(seen, writing),
        *_levels(seen),
        *_bounds(seen, writing),
        *claims_of_dimensions(
            seen.target, seen.source, seen.carried, unread=seen.unread, refused=seen.refused
        ),
    )


def _client_key(seen: Observations, writing: Writing) -> Claim:
    path, declared = "writing.client_key", writing.client_key.value
    found, note = judge_key(seen.key)
    if found is None:
        return _untestable(path, declared, note)
    if writing.client_key is ClientKey.NONE and found is ClientKey.APPEND:
        found = ClientKey.NONE
    if writing.client_key is ClientKey.UNKNOWN:
        is_worse = found is ClientKey.APPEND
        verdict = ClaimVerdict.DOWNGRADED if is_worse else ClaimVerdict.CONFIRMED
        return Claim(path=path, declared=declared, found=found.value, verdict=verdict, note=note)
    return _compared(path, declared, found.value, note)


def _answers(seen: Observations, writing: Writing) -> Iterator[Claim]:
    first = seen.key.first
    path = "writing.acknowledges"
    if first is None or not first.is_stored or first.receipt is None:
        yield _untestable(path, writing.acknowledges, "no document was stored")
    else:
        found = "async" if first.receipt.outcome is Outcome.PENDING else "sync"
        yield _compared(path, writing.acknowledges, found, "a document was accepted before it was stored")
    if writing.reports_ids:
        yield _reports_ids(seen, writing)


def _reports_ids(seen: Observations, writing: Writing) -> Claim:
    path = "writing.reports_ids"
    stored = [one.sent for one in seen.carried if one.sent.is_stored]
    if not stored:
        return _untestable(path, "true", "no document was stored")
    silent = [sent for sent in stored if not sent.ids]
    if silent and not writing.verbatim:
        return _untestable(path, "true", "nothing was made of the document, so there was no id to report")
    if silent:
        return _compared(path, "true", "false", "a document is stored, and its receipt names no id")
    if _is_shared(stored):
        return _compared(path, "true", "false", "two documents were given one id")
    return _compared(path, "true", "true")


def _is_shared(stored: Sequence[Sent]) -> bool:
    by_key: dict[str, set[str]] = {}
    for sent in stored:
        by_key.setdefault(sent.key, set()).update(sent.ids)
    every = [one for ids in by_key.values() for one in ids]
    return len(every) != len(set(every))


def _texts(seen: Observations, writing: Writing) -> Iterator[Claim]:
    back = [one for one in seen.carried if one.found is not None]
    reason = seen.unread or "nothing of it could be found again"
    if writing.verbatim:
        path = "writing.verbatim"
        if not back:
            yield _untestable(path, "true", reason)
        else:
            is_same = all(one.found and one.found.content == one.sent.record.content for one in back)
            yield _compared(path, "true", str(is_same).lower(), "a text came back changed")
    if writing.backdates != "none":
        yield _backdates(seen, back, writing.backdates, reason)


def _backdates(seen: Observations, back: Sequence[Carried], declared: str, reason: str) -> Claim:
    path = "writing.backdates"
    readable = seen.source.channel(Dimension.CREATED_AT).read if seen.source else Level.NONE
    if not back or readable is not Level.NATIVE:
        return _untestable(path, declared, reason if not back else "reading does not give dates as they are")
    one = back[0]
    sent, found = one.sent.record.created_at, one.found.created_at if one.found else None
    if sent is None:
        return _untestable(path, declared, "no date was sent")
    return _compared(path, declared, precision_of(sent, found), "a date came back less exact, or another one")


def _operations(seen: Observations, writing: Writing) -> Iterator[Claim]:
    if seen.visibility is not None:
        yield _lookup(seen.lookup, seen.visibility)
    if seen.can_get:
        read = seen.read
        if read is None or read.get_works is None:
            yield _untestable("operations.get", "yes", seen.unread or "there was nothing to ask for")
        else:
            yield _compared("operations.get", "yes", _yes(read.get_works), read.get_problem)
    if seen.can_delete:
        yield from _deletion(seen.removals, writing)
    elif writing.rollback != "none":
        yield _untestable(
            "writing.rollback", writing.rollback, "this backend deletes nothing through memxfer"
        )


def _levels(seen: Observations) -> Iterator[Claim]:
    path, declared, trial = "read_time.levels", seen.target.read_time.levels, seen.levels
    if declared == "none":
        return
    if trial.found is None:
        yield _untestable(path, declared, trial.note)
    elif declared == "unknown":
        yield Claim(path=path, declared=declared, found=trial.found, verdict=ClaimVerdict.CONFIRMED)
    else:
        yield _compared(path, declared, trial.found, "a user's question does not read the level above")


def _lookup(trial: LookupTrial, visibility: LookupVisibility) -> Claim:
    if trial.works is None:
        return _untestable("operations.lookup", "yes", trial.note or "no document was stored")
    claim = _compared("operations.lookup", "yes", _yes(trial.works), trial.note)
    if trial.note:
        return claim
    late = "when its task has ended" if visibility == "after_task" else f"within {visibility} s"
    when = "at once" if visibility == "immediate" else late
    return claim.model_copy(update={"note": f"it finds what is stored {when}"})


def _deletion(removals: Sequence[Removal], writing: Writing) -> Iterator[Claim]:
    tried = [one for one in removals if one.is_tried]
    path = "operations.delete"
    if not tried:
        works, note = None, "there was nothing to delete"
    else:
        note = next((one.problem for one in tried if one.problem), "")
        if not note and not tried[-1].count:
            note = "it says that nothing was there to delete"
        works = not note
    yield _untestable(path, "yes", note) if works is None else _compared(path, "yes", _yes(works), note)
    if writing.rollback == "id":
        path = "writing.rollback"
        yield (
            _untestable(path, "id", note)
            if works is None
            else _compared(path, "id", "id" if works else "none", note)
        )
    elif writing.rollback != "none":
        yield _untestable(
            "writing.rollback", writing.rollback, f"only deleting by id is tried, not by {writing.rollback}"
        )


def _bounds(seen: Observations, writing: Writing) -> Iterator[Claim]:
    yield _untestable("writing.max_batch", str(writing.max_batch), _BOUNDS)
    limits = {name: value for name, value in seen.target.limits if value}
    if limits:
        yield _untestable("limits", ", ".join(sorted(limits)), _BOUNDS)
    if writing.ordered:
        yield _untestable("writing.ordered", "true", "a few records show no order")


def _compared(path: str, declared: str, found: str, note: str = "") -> Claim:
    is_met = weaker(path, declared, found) == declared
    if is_met and found != declared:
        note = f"better than declared ({found}); the declaration stands"
    elif is_met and path != "writing.client_key":
        note = ""
    verdict = ClaimVerdict.CONFIRMED if is_met else ClaimVerdict.DOWNGRADED
    return Claim(path=path, declared=declared, found=found, verdict=verdict, note=note)


def _untestable(path: str, declared: str, note: str) -> Claim:
    return Claim(path=path, declared=declared, verdict=ClaimVerdict.NOT_TESTABLE, note=note)


def _yes(works: bool) -> str:
    return "yes" if works else "no"
