"""Owners as group ids, and back.

Graphiti keeps memories apart by `group_id` alone, and takes letters, digits, `-` and `_` in it
(`validate_group_id`, graphiti-core 0.31.1). So a group id names everybody who has a say in whose a
memory is, and can be read back. An owner whose id already is such a word is found by it in Graphiti, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from memxfer.spi import Scope
from memxfer_graphiti.config import OwnerAxis

__all__ = ["SHARED_GROUPS", "group_of", "named_scope", "owner_of", "scope_name", "scope_of"]

SHARED_GROUPS: Final = ("", "_")
"""Graphiti's own groups for what is nobody's: the second one on FalkorDB (`get_default_group_id`)."""

_PEOPLE: Final = ("tenant", "group", "app", "user")
_OTHERS: Final = ("agent", "session")
_LETTERS: Final = {"t": "tenant", "g": "group", "a": "app", "u": "user", "n": "agent", "s": "session"}
_LETTER_OF: Final = {axis: letter for letter, axis in _LETTERS.items()}
_PREFIX: Final = "mx_"
_OWNERS_KEPT: Final = 4096
_is_plain = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_ODD = re.compile(r"[^A-Za-z0-9-]")
_ESCAPE = re.compile(r"_([0-9A-F]{2})")
_PIECE = re.compile(r"([a-z])-((?:[A-Za-z0-9-]|_[0-9A-F]{2})*)")


def owner_of(scope: Scope) -> Scope:
    """Return the axes of a scope by which a graph keeps it apart; `Scope()` where nobody is named.

    Agents and sessions own what nobody else does; beside a user they are kept on the row.
    """
    axes = _PEOPLE if any(getattr(scope, axis) for axis in _PEOPLE) else _OTHERS
    return named_scope({axis: getattr(scope, axis) for axis in axes if getattr(scope, axis)})


def group_of(owner: Scope, *, plain: OwnerAxis) -> str:
    """Return the group id of an owner: ASCII letters, digits, `-` and `_`, never empty.

    Two owners never have one group: an id on the axis `plain` stands for itself where it can, all else
    is `mx_` and the named axes, with odd characters as `_` and two hex digits per byte of UTF-8.

    Args:
        owner: From `owner_of`; names at least one axis.
        plain: The axis of ids that are group ids as they are.
    """
    named = [(axis, value) for axis in (*_PEOPLE, *_OTHERS) if (value := getattr(owner, axis))]
    axis, value = named[-1]
    if len(named) == 1 and axis == plain and _stands_for_itself(value):
        return str(value)
    return _PREFIX + "__".join(f"{_LETTER_OF[axis]}-{_escaped(value)}" for axis, value in named)


def scope_of(group_id: str, *, plain: OwnerAxis) -> Scope:
    """Return whose a group is; a group id that `group_of` did not make is an id on the axis `plain`."""
    if group_id in SHARED_GROUPS:
        return Scope()
    return _decoded(group_id, plain) or named_scope({plain: group_id})


def named_scope(named: Mapping[str, str]) -> Scope:
    """Return the scope with these axes."""
    return msgspec.structs.replace(Scope(), **named)


def scope_name(owner: Scope) -> str:
    """Return the axis that says most about whose it is, for histograms."""
    axes = ("user", "group", "app", "tenant", "agent", "session")
    return next((axis for axis in axes if getattr(owner, axis)), "shared")


def _stands_for_itself(value: str) -> bool:
    return bool(_is_plain(value)) and not value.startswith(_PREFIX) and value not in SHARED_GROUPS


@functools.lru_cache(maxsize=_OWNERS_KEPT)  # many rows are one owner's
def _decoded(group_id: str, plain: OwnerAxis) -> Scope | None:
    if not group_id.startswith(_PREFIX):
        return None
    pieces = [_PIECE.fullmatch(piece) for piece in group_id.removeprefix(_PREFIX).split("__")]
    try:
        named = {_LETTERS[piece[1]]: _unescaped(piece[2]) for piece in pieces if piece}
        owner = named_scope(named)
        # Anybody may call a group mx_...: only what comes out the same again was made here.
        return owner if named and group_of(owner, plain=plain) == group_id else None
    except (KeyError, UnicodeDecodeError):
        return None


@functools.lru_cache(maxsize=_OWNERS_KEPT)
def _escaped(value: str) -> str:
    return _ODD.sub(lambda odd: "".join(f"_{byte:02X}" for byte in odd[0].encode()), value)


def _unescaped(text: str) -> str:
    raw = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)
    return raw.encode("latin-1").decode()
