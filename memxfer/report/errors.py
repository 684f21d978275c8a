"""An error as a block: what failed, why, what to do next; nothing of a record's content."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from memxfer.errors import (
    AuthError,
    DecisionRequiredError,
    MemxferError,
    NotReadyError,
    ProviderError,
    RateLimitedError,
)
from memxfer.report.text import plain

__all__ = ["error_lines", "safe_traceback"]

# What the messages themselves do not say: they come from where no command line is known.
_NEXT: tuple[tuple[type[MemxferError], str], ...] = (
    (AuthError, "Check the key behind api_key; `memxfer providers check CONNECTION` tests it alone."),
    (RateLimitedError, "Set max_rate on the connection, or try again later."),
    (NotReadyError, "--wait-ready waits for it."),
)


def error_lines(error: MemxferError) -> list[str]:
    """Return the block for an error that memxfer raised on purpose, first line first."""
    first, *more = map(plain, str(error).splitlines() or [type(error).__name__])
    lines = [f"error: {_where(error)}{first}"]
    lines += [f"  {line}" for line in (*more, *_remedies(error))]
    if isinstance(error, ProviderError) and error.correlation_id:
        lines.append(f"  correlation id for the vendor's support: {plain(error.correlation_id)}")
    return lines


def safe_traceback(error: BaseException) -> str:
    """Return the traceback without the texts of foreign exceptions: they may quote a memory."""
    return "\n".join(line for link in _chain(error) for line in _link(link))


def _where(error: MemxferError) -> str:
    """Name backend and operation where the message does not."""
    if not isinstance(error, ProviderError) or error.provider in str(error):
        return ""
    return f"{plain(' '.join((error.provider, error.operation)).strip())}: "


def _remedies(error: MemxferError) -> Iterator[str]:
    if isinstance(error, DecisionRequiredError) and error.remedies:
        yield "decide with:"
        yield from (f"  {plain(remedy)}" for remedy in error.remedies)
    yield from (hint for kind, hint in _NEXT if isinstance(error, kind))


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and what caused it, the first cause first."""
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None and cause not in links:
        links.append(cause)
    return links[::-1]


def _link(error: BaseException) -> Iterator[str]:
    yield from (f'  File "{at.filename}", line {at.lineno}, in {at.name}' for at in _frames(error))
    text = f": {plain(error)}" if isinstance(error, MemxferError) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{text}"


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)
