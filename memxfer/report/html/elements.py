"""Markup that cannot be forgotten to be escaped: text becomes markup only by being an element."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from memxfer.report.text import plain

__all__ = ["Child", "Html", "element", "fragment", "hidden", "text"]


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None
"""Markup, or text that is escaped; nothing for `None`."""

_EMPTY = frozenset({"meta", "rect", "use"})


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """Return an element.

    Args:
        name: Its name.
        children: What stands in it; whatever is not `Html` is escaped.
        attributes: `class_` for `class`, `data_label` for `data-label`; those that are `None` are left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{fragment(children)}</{name}>")


def fragment(children: Iterable[Child]) -> Html:
    """Return children one after the other."""
    return Html("".join(one if isinstance(one, Html) else text(one) for one in children if one is not None))


def text(foreign: str) -> Html:
    """Return `foreign` escaped for content and attributes, and writable in UTF-8 whatever it holds."""
    return Html(escape(plain(foreign)))


def hidden(words: str) -> Html:
    """Return words that are read out, and not shown."""
    return element("span", words, class_="unseen")
