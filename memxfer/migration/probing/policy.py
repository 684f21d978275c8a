"""What a target does with a document whose key it holds, read off what became of three of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from memxfer.capabilities import ClientKey
from memxfer.migration.probing.sending import Sent
from memxfer.spi import Outcome

__all__ = ["KeyTrial", "judge_key"]

_Finding = tuple[ClientKey | None, str]


@dataclass(slots=True)
class KeyTrial:
    """Three documents under one key.

    Attributes:
        first: The first.
        again: The same once more.
        changed: Another text under the same key.
        first_remains: Whether the first copy was still there, apart from the others, after the third.
        copies: Records under the key that were read back.
        has_first_text: Whether the first text was among them.
        has_changed_text: Whether the third text was among them.
    """

    first: Sent | None = None
    again: Sent | None = None
    changed: Sent | None = None
    first_remains: bool | None = None
    copies: int | None = None
    has_first_text: bool = False
    has_changed_text: bool = False

    @property
    def sent(self) -> list[Sent]:
        """The documents that were sent, in order."""
        return [sent for sent in (self.first, self.again, self.changed) if sent is not None]


class _Answer(Enum):
    REFUSED = auto()
    KEPT = auto()
    """It answered with what it had."""
    REPLACED = auto()
    """It says that it replaced what it had."""
    STORED = auto()
    """It stored something, as if it were the first."""


def judge_key(trial: KeyTrial) -> _Finding:
    """Tell the policy, and in one sentence how it showed; no policy where it cannot be told.

    Several copies outweigh whatever the receipts say. Where only receipts speak of a replacement, they
    are believed if the ids stayed the same; a new id with nothing known of the old one proves nothing.
    """
    first, again, changed = trial.first, trial.again, trial.changed
    if first is None:
        return None, "the probe ended before it had sent anything"
    if not first.is_stored:
        return None, f"the first document was not stored: {_reason(first)}"
    if again is None or changed is None:
        return None, "the probe ended before it had sent one key three times"
    if _lost(again) or _lost(changed):
        return None, f"what became of a second document of one key is not known: {_reason(again, changed)}"
    if trial.copies is not None and trial.copies > 1:
        return ClientKey.APPEND, f"one key was sent three times, and {trial.copies} copies were there"
    if trial.first_remains:
        return ClientKey.APPEND, "the first copy was still there beside what came after it"
    return _by_answers(trial, _answer(again, first), _answer(changed, first))


def _by_answers(trial: KeyTrial, again: _Answer, changed: _Answer) -> _Finding:
    if again is _Answer.REFUSED or (changed is _Answer.REFUSED and again is _Answer.KEPT):
        return ClientKey.REJECT, _how_refused(trial)
    if changed is _Answer.REFUSED:
        return None, f"the same text was taken again and another one refused: {_reason(trial.changed)}"
    if changed is _Answer.KEPT:
        if trial.has_changed_text:
            return ClientKey.UPSERT, "the second text was there, although the answer did not say so"
        return ClientKey.DEDUPE, "it answered with what it had"
    if trial.has_first_text and not trial.has_changed_text:
        return ClientKey.DEDUPE, "the first text was still there, whatever the answer said"
    if trial.first_remains is False:
        return ClientKey.UPSERT, "the first copy was gone when the next had been stored"
    if trial.copies == 1 and trial.has_changed_text:
        return ClientKey.UPSERT, "one copy was there, with the last text"
    if changed is _Answer.REPLACED:
        return ClientKey.UPSERT, "so its answers say; nothing else could be looked at"
    return None, "it took a second document of one key, and nothing tells what became of the first"


def _answer(sent: Sent, first: Sent) -> _Answer:
    receipt = sent.receipt
    if sent.is_refused or receipt is None:
        return _Answer.REFUSED
    if receipt.outcome is Outcome.PRESENT or _is_echo(sent, first):
        return _Answer.KEPT
    same_ids = bool(sent.ids) and set(sent.ids) <= set(first.ids)
    if receipt.outcome is Outcome.UPDATED and (same_ids or not sent.ids):
        return _Answer.REPLACED
    return _Answer.KEPT if same_ids else _Answer.STORED


def _is_echo(sent: Sent, first: Sent) -> bool:
    return sent.ingestion_id is not None and sent.ingestion_id == first.ingestion_id


def _lost(sent: Sent) -> bool:
    return not sent.is_stored and not sent.is_refused


def _how_refused(trial: KeyTrial) -> str:
    refused = [sent for sent in trial.sent if sent.is_refused]
    if all(sent.is_duplicate for sent in refused):
        return "a second document of one key is refused as a duplicate"
    return (
        "a second document of one key is refused, but not as a duplicate: after a crash such documents "
        "count as failed"
    )


def _reason(*several: Sent | None) -> str:
    for sent in several:
        if sent is None or sent.is_stored:
            continue
        if sent.error is not None:
            return str(sent.error)
        if sent.is_pending:
            return "it was still being processed"
    return "the target gives no reason"
