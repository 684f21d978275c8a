"""The residue of a job: an archive of the originals of what a target cannot hold.

It stands in the job's folder and is an archive like any other. Its origin is the source's store, so
moving it on gives the keys a direct move would have given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from memxfer.archive.layout import MANIFEST_NAME
from memxfer.archive.manifest import Origin
from memxfer.archive.writer import ArchiveWriter
from memxfer.errors import LedgerError, MemxferError

__all__ = ["ResidueArchive"]

T = TypeVar("T")


class ResidueArchive:
    """Writes a residue; the folder is made with its first line.

    Args:
        root: Where it stands, or will.
        origin: The source's store.
        now: Gives the time of day, for the manifest.
        tool: Name and version of the program, for the manifest.

    Attributes:
        root: As given.
        had_lines: An earlier run wrote to it.
    """

    def __init__(
        self, root: Path, *, origin: Origin, now: Callable[[], datetime], tool: str = "memxfer"
    ) -> None:
        self.root = root
        self._origin = origin
        self._now = now
        self._tool = tool
        self._writer: ArchiveWriter | None = None
        self._has_begun = False
        self.had_lines = (root / MANIFEST_NAME).is_file()

    @property
    def is_there(self) -> bool:
        """Whether it has been made."""
        return self._writer is not None or self.had_lines

    def open(self, *, lines: int) -> None:
        """Go on with what earlier runs wrote, where they did; cuts off what a crash tore.

        Args:
            lines: How many lines the ledger says were written.

        Raises:
            LedgerError: It is damaged, cannot be written, or is not the one the ledger speaks of.
        """
        found = self._guarded(lambda: self._opened().lines) if self.had_lines else 0
        if found < lines:
            raise LedgerError(
                f"the residue {self.root} holds {found:,} of the {lines:,} lines that its ledger counts; "
                "put the folder back as it was, or begin a new job"
            )

    def store(self, lines: Sequence[tuple[str, bytes | None]]) -> tuple[int, int]:
        """Make lines durable, in order; the same ones again change nothing.

        Args:
            lines: Identities, and lines as `frame_line` makes them; `None`: what stands there under
                the identity, an older form of the record, does not count any more.

        Returns:
            How many records it holds now, and how many lines were ever written.

        Raises:
            LedgerError: They could not all be stored.
        """
        return self._guarded(lambda: self._store(dict(lines)))

    def _store(self, lines: Mapping[str, bytes | None]) -> tuple[int, int]:
        kept = [(identity, line) for identity, line in lines.items() if line is not None]
        outdated = [identity for identity, line in lines.items() if line is None]
        if not kept and not self.is_there:
            return 0, 0
        writer = self._opened()
        self._begin(writer)
        if kept:
            writer.append(kept)
        if outdated:
            writer.delete(outdated)
        return writer.records, writer.lines

    def read(self, identities: Iterable[str]) -> dict[str, bytes]:
        """Return the lines that stand there under `identities`.

        Raises:
            LedgerError: It cannot be read.
        """
        return self._guarded(lambda: self._opened().read(identities)) if self.is_there else {}

    def finish(self) -> None:
        """Complete it, so that its sums can be checked; a later run may add more. Idempotent.

        Raises:
            LedgerError: It cannot be written.
        """
        if self._writer is not None:
            self._guarded(self._writer.finish)
            self._has_begun = False

    def close(self) -> None:
        """Release the files. Idempotent."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self) -> ArchiveWriter:
        if self._writer is None:
            self._writer = ArchiveWriter(self.root, now=self._now, tool=self._tool)
        return self._writer

    def _begin(self, writer: ArchiveWriter) -> None:
        if not self._has_begun:
            writer.begin(self._origin)
            self._has_begun = True

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (MemxferError, OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"the residue {self.root} cannot be used ({_reason(error)}); nothing more is sent, and what "
                "was acknowledged is kept. Free some space or fix the folder, then resume the job; a new "
                "job may go elsewhere with --state-dir, or without originals with --residue off"
            ) from error


def _reason(error: Exception) -> str:
    """Return why, without the advice that does not fit a residue."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(cause)
