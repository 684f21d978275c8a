"""Text into a file that a user named: whole or not at all, and for that user's eyes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from memxfer.errors import ConfigError
from memxfer.report.text import plain

__all__ = ["check_place", "save_text"]


def check_place(file: Path) -> None:
    """See whether `save_text` would work, before the work that fills the file; nothing stays behind.

    Raises:
        ConfigError: It is a folder, its folder is missing, or nothing can be written there.
    """
    place = _place(file)
    if place.is_dir():
        raise ConfigError(f"{plain(file)} is a folder; name a file in it")
    if place.exists() and not place.is_file():
        raise ConfigError(f"{plain(file)} is a device or a pipe; name a file")
    if not place.parent.is_dir():
        raise ConfigError(f"{plain(file)} cannot be written: there is no folder {plain(place.parent)}")
    try:
        with tempfile.TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        raise _refusal(file, error) from error


def save_text(file: Path, text: str) -> None:
    """Write `text` as UTF-8, readable by its owner alone; what was there is replaced in one step.

    A symbolic link stays one: what it leads to is replaced.

    Raises:
        ConfigError: The file cannot be written; what was there before still is.
    """
    place = _place(file)
    scratch: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("wb", dir=place.parent, prefix=".memxfer-", delete=False) as out:
            scratch = Path(out.name)
            out.write(text.encode("utf-8"))
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(place)
    except OSError as error:
        raise _refusal(file, error) from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def _place(file: Path) -> Path:
    return Path(os.path.realpath(file))  # unlike Path.resolve, it takes a loop of links for a missing file


def _refusal(file: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{plain(file)} cannot be written: {error.strerror}")
