"""Secret references: `env:NAME`, `file:PATH`.

A configuration names where a key is, never the key. Each scheme is one function of `SCHEMES`, so
another vault is one more entry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from memxfer.errors import SecretError

__all__ = ["SCHEMES", "is_reference", "resolve"]


_MOST_BYTES = 64 * 1024
_is_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_is_usual = re.compile(r"[A-Z_][A-Z0-9_]{0,63}").fullmatch


def _from_environment(name: str) -> str:
    if not _is_variable(name):
        # Not quoted: a key that was pasted behind env: must not end in a log.
        raise SecretError("env: takes the name of an environment variable: letters, digits, underscores")
    value = os.environ.get(name)
    if not value:
        # Quoted only where it looks like the name of a variable: keys have small letters.
        shown, reference = (f" {name}", f" env:{name}") if _is_usual(name) else (" named behind env:", "")
        raise SecretError(
            f"the environment variable{shown} is not set; set it, or change the reference{reference}"
        )
    return value


def _from_file(path: str) -> str:
    shown = f" {path}" if re.search(r"[/\\.~]", path) else ""  # else it may be a key in the wrong place
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        value = data.decode("utf-8-sig").strip()
    except (OSError, ValueError, RuntimeError) as error:  # no text, no path at all, no such user's home
        raise SecretError(f"the secret file{shown} cannot be read: {type(error).__name__}") from (
            error if shown else None
        )
    if len(data) > _MOST_BYTES:
        raise SecretError(f"the secret file{shown} has over {_MOST_BYTES} bytes; it is no key")
    if not value:
        raise SecretError(f"the secret file{shown} is empty")
    return value


SCHEMES: dict[str, Callable[[str], str]] = {"env": _from_environment, "file": _from_file}
"""How each kind of reference is resolved, by what stands before its colon."""

_PLANNED = frozenset({"keyring", "aws-sm", "aws-ssm", "gcp-sm", "azure-kv", "vault"})


def is_reference(text: str) -> bool:
    """Tell whether `text` is a reference and not the secret itself."""
    return text.partition(":")[0] in SCHEMES.keys() | _PLANNED and ":" in text


def resolve(text: str, *, folder: Path | None = None) -> str:
    """Return the secret `text` refers to; text that is no reference comes back as it is.

    Args:
        text: A reference, or the secret itself.
        folder: Where a relative path of `file:` counts from; default: the working folder.

    Raises:
        SecretError: Nothing is there, or the scheme is not supported. The secret is never quoted.
    """
    scheme, colon, rest = text.partition(":")
    if scheme == "file" and folder is not None and not rest.startswith("~"):
        rest = str(folder / rest)
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](rest)
    if colon and scheme in _PLANNED:
        raise SecretError(f"secrets from {scheme}: are not supported yet; use env:NAME or file:PATH")
    return text
