"""What Synap's pipeline makes of a document, in miniature: the same text gives the same memories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Outcome = Literal["completed", "failed", "partial_success"]

TRIGGER_KEY = "synap_emulator"
"""Metadata key that decides a document's fate: `no_memories`, `fail` or `partial`.

The same words in double brackets anywhere in the text (`[[fail]]`) do the same.
"""

MAX_PER_DOCUMENT = 50
_TRIGGERS: dict[str, Outcome] = {"no_memories": "completed", "fail": "failed", "partial": "partial_success"}
_MARKER = re.compile(r"\[\[(no_memories|fail|partial)\]\]")
_SENTENCE = re.compile(r"[^\s.!?][^\n.!?]*(?:[.!?]+(?!\s)[^\n.!?]+)*[.!?]*")
_SPEAKER = re.compile(r"^(?:user|assistant|human|system)\s*:\s*", re.IGNORECASE)

_TYPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "preference",
        re.compile(r"\b(prefers?|likes?|loves?|hates?|dislikes?|enjoys?|favou?rite|rather)\b", re.IGNORECASE),
    ),
    (
        "emotion",
        re.compile(r"\b(feels?|felt|happy|sad|angry|afraid|excited|frustrated|worried)\b", re.IGNORECASE),
    ),
    (
        "temporal_event",
        re.compile(
            r"\b(tomorrow|next (week|month|year)|deadline|appointment|on \d{4}-\d\d-\d\d)\b", re.IGNORECASE
        ),
    ),
    (
        "episode",
        re.compile(r"\b(yesterday|last (week|month|year|night)|met|went|visited|happened)\b", re.IGNORECASE),
    ),
)


@dataclass(frozen=True)
class Extract:
    """One extracted memory."""

    memory_type: str
    content: str


def text_of(document: str | Mapping[str, Any]) -> str:
    """Return a document's text; an object counts as its JSON."""
    return document if isinstance(document, str) else msgspec.json.encode(document).decode()


def outcome_of(text: str, metadata: Mapping[str, Any] | None) -> tuple[Outcome, int]:
    """Return how processing will end, and with how many memories.

    One memory per sentence or line, at most 50; half of them (rounded down) on `partial`.
    """
    trigger = metadata.get(TRIGGER_KEY) if metadata else None
    if trigger is None and "[[" in text:
        marker = _MARKER.search(text)
        trigger = marker.group(1) if marker else None
    if not isinstance(trigger, str) or trigger not in _TRIGGERS:
        return "completed", min(len(_SENTENCE.findall(text)), MAX_PER_DOCUMENT)
    count = len(_SENTENCE.findall(text)) // 2 if trigger == "partial" else 0
    return _TRIGGERS[trigger], min(count, MAX_PER_DOCUMENT)


def extract(text: str, count: int) -> list[Extract]:
    """Return the first `count` memories of a text, in order."""
    sentences = [found.group(0).strip() for found in _SENTENCE.finditer(text)][:count]
    return [Extract(_type_of(sentence), _SPEAKER.sub("", sentence) or sentence) for sentence in sentences]


def _type_of(sentence: str) -> str:
    return next((name for name, pattern in _TYPES if pattern.search(sentence)), "fact")
