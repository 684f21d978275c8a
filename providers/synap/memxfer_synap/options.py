"""How a document is read, where it says so itself: `extensions["synap"]`, before the connection."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from memxfer.spi import MemoryRecord, RecordError
from memxfer_synap.config import DocumentType, Mode, SynapConfig

__all__ = ["Options", "moved_options", "options_of"]

_TYPES: tuple[str, ...] = get_args(DocumentType)
_MODES: tuple[str, ...] = get_args(Mode)
_KNOWN: dict[str, tuple[str, ...]] = {"mode": _MODES, "document_type": _TYPES}


class Options(NamedTuple):
    """How Synap reads one document; without a type it goes by what the document is."""

    mode: str
    document_type: str | None


def moved_options(record: MemoryRecord, config: SynapConfig) -> Options:
    """Return how a document that is moved is read: the connection's mode, and the record's own type.

    Whatever else stands there is the source's, and travels in the envelope.
    """
    found = _said(record).get("document_type")
    return Options(config.mode, found if found in _TYPES else config.document_type)


def options_of(record: MemoryRecord, config: SynapConfig) -> Options:
    """Return how a document of an app is read: as this call says, else the connection, else `fast`.

    Raises:
        RecordError: The call names another option, or a value that Synap does not have.
    """
    said = _said(record)
    for name, value in said.items():
        if name not in _KNOWN:
            raise _bad(f"synap has no option {_shown(name)}; there are mode and document_type")
        if value not in _KNOWN[name]:
            raise _bad(f"synap has no such {name}; there are {', '.join(_KNOWN[name])}")
    usual = config.mode if "mode" in config.model_fields_set else "fast"
    return Options(said.get("mode", usual), said.get("document_type", config.document_type))


def _said(record: MemoryRecord) -> dict[str, Any]:
    found = record.extensions.get("synap")
    return found if isinstance(found, dict) else {}


def _shown(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else "of that name"


def _bad(message: str) -> RecordError:
    return RecordError(message, provider="synap", operation="prepare", code="bad_option")
