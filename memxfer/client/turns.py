"""Numbers and ids of turns that the client counts: no two clients, files or owners give the same id."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from memxfer.models import Scope

__all__ = ["Turn", "Turns", "lane_of", "new_mark", "turn_id"]

_MOST_REMEMBERED = 100_000
_OWNER = ("tenant", "app", "group", "user")


@dataclass(frozen=True, slots=True)
class Turn:
    """One counted turn.

    Attributes:
        conversation: What the ids of its conversation begin with, here and nowhere else.
        number: From 1.
    """

    conversation: str
    number: int

    @property
    def id(self) -> str:
        """The document id: `turn_{conversation}_{mark}_{n}`."""
        return f"{self.conversation}_{self.number}"


def new_mark() -> str:
    """Return a mark that nobody else has."""
    return secrets.token_hex(16)


def turn_id(conversation: str, number: int) -> str:
    """Return the document id of a turn that the app counts: `turn_{conversation}_{n}`.

    Plain ASCII, never of the clock. It names neither owner nor app: where sessions of two users can
    have the same name, put the user into `conversation`, or let the client count.
    """
    return f"turn_{_plain(conversation)}_{number}"


def lane_of(scope: Scope) -> str:
    """Return the name of what is delivered in order: one conversation of one owner, by all its agents."""
    return _digest([*(getattr(scope, axis) for axis in _OWNER), scope.session])


class Turns:
    """Counts the turns of conversations.

    Args:
        mark: Goes into every id, together with the owner: 16 hex digits of a hash of both.
        stored: Returns the last number of a conversation that is on disk; without it, nothing is.
    """

    def __init__(self, mark: str, stored: Callable[[str], int] | None = None) -> None:
        self._mark = mark
        self._stored = stored
        self._last: OrderedDict[str, int] = OrderedDict()

    def next(self, scope: Scope) -> Turn:
        """Return the next turn of a scope's session.

        Raises:
            LedgerError: The file cannot be read.
        """
        conversation = self._conversation(scope)
        last = self._last.pop(conversation, None)
        if last is None:
            last = self._stored(conversation) if self._stored else 0
            self._make_room()
        self._last[conversation] = last + 1
        return Turn(conversation, last + 1)

    def _conversation(self, scope: Scope) -> str:
        owner = [getattr(scope, axis) for axis in (*_OWNER, "agent")]
        tag = _digest([self._mark, *owner, sorted(scope.extra.items()), scope.session])
        return f"turn_{_plain(scope.session or '')}_{tag}"

    def _make_room(self) -> None:
        if len(self._last) < _MOST_REMEMBERED:
            return
        if self._stored:
            self._last.popitem(last=False)  # on disk for long
        else:
            self._last.clear()
            self._mark = new_mark()  # what was counted under the old one is forgotten


def _digest(parts: list[object]) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _plain(text: str) -> str:
    return quote(text, safe="-._~", errors="surrogatepass")
