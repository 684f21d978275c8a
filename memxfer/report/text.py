"""Foreign text made harmless: ids and backend messages are shown, never obeyed."""

from __future__ import annotations

import re
import textwrap
import unicodedata

__all__ = ["amount", "duration", "plain", "plural", "shorten", "size"]

# Cc: control characters, escape sequences among them. Cf: marks that turn the writing direction or
# hide text. Cs: lone surrogates, which no terminal encoding takes. Zl, Zp: line breaks in disguise.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_STEP = 1000
_JOINERS = frozenset("\u200c\u200d")
"""Characters of category Cf that ordinary writing and emoji need."""


def plain(text: object) -> str:
    r"""Return `text` on one line, with everything that could steer a terminal written as `\x1b`."""
    return "".join(map(_visible, str(text)))


def _visible(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def shorten(text: object, width: int) -> str:
    """Return `plain(text)`, at most `width` characters of it."""
    shown = plain(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def amount(number: int | None) -> str:
    """Return `12,345`; a dash for what is not known."""
    return "-" if number is None else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Return `1 record`, `2 records`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return `8 s`, `3 min 05 s` or `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(number: int) -> str:
    """Return bytes as `512 B`, `4.2 kB` or `1.3 GB`, in steps of a thousand."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:,.1f} TB"


def wrapped(line: str, width: int) -> list[str]:
    """Break a line between words at `width` columns; a command in backticks stays whole, to be copied."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    whole = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", "\0"), line)
    lines = textwrap.wrap(
        whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace("\0", " ") for part in lines] or [line]
