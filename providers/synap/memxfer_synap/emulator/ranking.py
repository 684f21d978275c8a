"""Top-k search over an owner's memories: BM25 on words, and a bonus for the literal query."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .store import Memory

_WORD = re.compile(r"\w+")
_SATURATION = 1.2
_LENGTH_WEIGHT = 0.75
_LITERAL_BONUS = 2.0


@dataclass(frozen=True)
class Hit:
    """A memory that a query found."""

    memory: Memory
    score: float
    queries: tuple[str, ...]


def words(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return _WORD.findall(text.lower())


def rank(memories: Sequence[Memory], queries: Sequence[str]) -> list[Hit]:
    """Return the memories that share a word with a query, best first; all, newest first, without a query."""
    asked = [query for query in queries if query.strip()]
    if not asked:
        return [Hit(memory, 0.0, ()) for memory in reversed(memories)]
    index = _Index(memories)
    hits = [hit for number in range(len(memories)) if (hit := index.hit(number, asked))]
    return sorted(hits, key=lambda hit: -hit.score)


class _Index:
    def __init__(self, memories: Sequence[Memory]) -> None:
        self._memories = memories
        self._counts = [Counter(words(memory.content)) for memory in memories]
        self._spread = Counter(word for counts in self._counts for word in counts)
        self._mean = sum(counts.total() for counts in self._counts) / max(len(memories), 1)

    def hit(self, number: int, queries: Sequence[str]) -> Hit | None:
        scores = {query: self._score(number, query) for query in queries}
        found = tuple(query for query, score in scores.items() if score > 0)
        return Hit(self._memories[number], max(scores.values()), found) if found else None

    def _score(self, number: int, query: str) -> float:
        literal = query.strip().lower() in self._memories[number].content.lower()
        return sum(self._weight(number, word) for word in set(words(query))) + literal * _LITERAL_BONUS

    def _weight(self, number: int, word: str) -> float:
        counts = self._counts[number]
        count = counts[word]
        if not count:
            return 0.0
        rarity = math.log(1 + (len(self._counts) - self._spread[word] + 0.5) / (self._spread[word] + 0.5))
        length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * counts.total() / self._mean
        return rarity * count * (_SATURATION + 1) / (count + _SATURATION * length)
