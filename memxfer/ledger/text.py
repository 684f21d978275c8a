"""Names from elsewhere, in a form that the ledger can hold."""

from __future__ import annotations

import hashlib

from memxfer.models import sanitise_text

__all__ = ["stored_name"]

_MOST = 512
_MARK = "#sha256:"


def stored_name(name: str) -> str:
    """Return the name under which the ledger files something; different names stay different.

    Most names are kept as they are. One that UTF-8 cannot carry (a lone surrogate), or that is longer
    than 512 characters, is cut and gets its SHA-256; so does one that looks as if it had one already.
    """
    text, is_changed = sanitise_text(name)
    if not is_changed and len(text) <= _MOST and _MARK not in text:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_MOST]}{_MARK}{digest}"
