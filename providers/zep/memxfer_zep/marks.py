"""What memxfer leaves with each thing it writes, and reads again: keys of attributes and metadata.

Zep takes 10 keys, with texts, numbers, truth values and (but for facts) lists of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from memxfer.spi import parse_time

__all__ = [
    "CREATED",
    "ENVELOPE",
    "KEY",
    "MAX_KEYS",
    "PREDICATE",
    "RESERVED",
    "SESSION",
    "USER",
    "Books",
    "packed",
]

KEY: Final = "memxfer_key"
"""The document's key, by which a look-up finds it."""
ENVELOPE: Final = "memxfer"
"""The envelope, as JSON text."""
META: Final = "memxfer_meta"
"""The record's own metadata that Zep does not take as it is, as the JSON text of one object."""
CREATED: Final = "memxfer_created_at"
PREDICATE: Final = "memxfer_predicate"
USER: Final = "memxfer_user"
SESSION: Final = "memxfer_session"
RESERVED: Final = frozenset((KEY, ENVELOPE, META, CREATED, PREDICATE, USER, SESSION))
MAX_KEYS: Final = 10


_SCALARS = (str, bool, int, float)


def packed(
    own: Mapping[str, Any], fixed: Mapping[str, Any], envelope: Mapping[str, Any], *, takes_lists: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what goes along with one thing, and the words for what that alters.

    Args:
        own: The record's metadata.
        fixed: Ours, which has a place before all else; at most 8 keys.
        envelope: What has no other place; it gets a key if one is left.
        takes_lists: Whether values may be lists.
    """
    fits = {name: value for name, value in own.items() if _is_plain(name, value, takes_lists=takes_lists)}
    room, changes = MAX_KEYS - len(fixed), []
    if len(fits) < len(own) or len(fits) > room:
        fits = dict(list(fits.items())[: room - 1])
        rest = {name: value for name, value in own.items() if name not in fits}
        fits[META] = _text(rest)
        changes.append("metadata_packed")
    if envelope and len(fits) < room:
        fits[ENVELOPE] = _text(envelope)
    elif envelope:
        changes.append("envelope_dropped")
    return {**fits, **fixed}, tuple(changes)


def _is_plain(name: str, value: Any, *, takes_lists: bool) -> bool:
    if not name or name in RESERVED:
        return False
    if takes_lists and isinstance(value, list):
        return all(isinstance(item, _SCALARS) for item in value)
    return isinstance(value, _SCALARS)


def _text(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(dict(value)).decode()


class Books:
    """Reads what `packed` wrote.

    Args:
        metadata: Attributes or metadata, as Zep gives them.

    Attributes:
        metadata: The record's own part.
        marks: Our part; empty where something else wrote it.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.marks: dict[str, Any] = {}
        self.metadata = metadata
        if isinstance(metadata.get(KEY), str):
            self.marks = {name: value for name, value in metadata.items() if name in RESERVED}
            own = {name: value for name, value in metadata.items() if name not in RESERVED}
            self.metadata = {**own, **(_object(self.marks.get(META)) or {})}

    def text(self, name: str) -> str | None:
        """Return a mark of ours that is a text."""
        found = self.marks.get(name)
        return found if isinstance(found, str) else None

    def created_at(self) -> datetime | None:
        """Return when the record was made, before it was moved."""
        text = self.text(CREATED)
        try:
            return parse_time(text) if text else None
        except ValueError:
            return None

    def extension(self) -> dict[str, Any]:
        """Return key and envelope, for the record's extensions; empty where there is none."""
        if not self.marks:
            return {}
        envelope = _object(self.marks.get(ENVELOPE))
        return {"key": self.marks[KEY], **({"envelope": envelope} if envelope else {})}


def _object(text: Any) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text) if isinstance(text, str) else None
    except msgspec.MsgspecError:
        return None
    return found if isinstance(found, dict) else None
