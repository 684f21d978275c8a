"""Operations of many requests that get somewhere although each try is cut short by a rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["KeptAnswers"]

T = TypeVar("T")


class KeptAnswers(Generic[T]):
    """Asks one question for each of several names, side by side.

    When one fails, the answers of the others are kept: the same operation, repeated by its caller, asks
    only what is left. Once all are answered they are given out and forgotten.
    """

    def __init__(self) -> None:
        self._answers: dict[str, T] = {}

    async def ask(self, names: Sequence[str], question: Callable[[str], Awaitable[T]]) -> dict[str, T]:
        """Return the answer for each name; raises one question's error when all have ended."""
        mine = {name: self._answers.pop(name) for name in names if name in self._answers}
        left = [name for name in dict.fromkeys(names) if name not in mine]
        results = await asyncio.gather(*map(question, left), return_exceptions=True)
        failures = []
        for name, result in zip(left, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                mine[name] = result
        if failures:
            self._answers |= mine
            raise failures[0]
        return mine
