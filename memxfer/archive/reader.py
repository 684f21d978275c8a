"""Reading an archive, one's own or a stranger's: everything in it is data, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from memxfer.archive.inflate import measure
from memxfer.archive.layout import (
    MANIFEST_NAME,
    MAX_RAW,
    damaged,
    disk_trouble,
    file_sum,
    list_parts,
    part_name,
    part_path,
    superseded_path,
)
from memxfer.archive.line import ArchivedRecord, decode_line, key_digest
from memxfer.archive.manifest import Manifest, Origin, PartEntry, read_manifest
from memxfer.archive.stream import START, PartStream, Place
from memxfer.archive.superseded import read_superseded
from memxfer.errors import ConfigError, RecordError

__all__ = ["ArchivePart", "ArchiveReader"]

_PAGE = 1000
_PAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """One part of an archive that can be read.

    Attributes:
        number: Its number; parts are read in this order.
        path: Its file.
        origin: The store its records came from, where known.
        entry: What the manifest says of it; `None` while nothing does.
    """

    number: int
    path: Path
    origin: Origin | None = None
    entry: PartEntry | None = None

    @property
    def name(self) -> str:
        """The part's name: `part-00001`."""
        return part_name(self.number)

    @property
    def is_open(self) -> bool:
        """Tell whether the part was never sealed: its end may be torn."""
        return self.path.suffix == ".open"


class ArchiveReader:
    """An archive opened for reading; holds no file open itself, and changes nothing.

    Args:
        root: Folder of the archive.

    Attributes:
        archive_id: The archive's own id.
        manifest: The manifest; `None` when it is missing.
        parts: What there is to read, in order.
        warnings: What the user should know: the archive is not complete, files that belong to nothing.

    Raises:
        ConfigError: There is no archive, or one that this memxfer cannot read.
        FatalError: A part that the manifest lists is missing or has another size.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with disk_trouble(root, "read"):
            self._look()

    def _look(self) -> None:
        root = self.root
        if not root.is_dir():
            raise ConfigError(f"no archive at {root}; name the folder that holds {MANIFEST_NAME}")
        self.manifest: Manifest | None = read_manifest(root)
        self.warnings: list[str] = []
        self._verified: set[int] = set()
        self._ends: dict[int, int] = {}
        files = list_parts(root)
        if self.manifest is None and not files:
            raise ConfigError(f"{root} is not a memxfer archive: it holds neither {MANIFEST_NAME} nor parts")
        self.parts = self._listed(files) + self._unlisted(files)
        self.archive_id = self.manifest.id if self.manifest else self._makeshift_id()

    @property
    def is_complete(self) -> bool:
        """Tell whether its writer finished it."""
        return self.manifest is not None and self.manifest.complete

    @property
    def origins(self) -> list[Origin | None]:
        """The stores that its records came from, in order; `None` among them: not known.

        A store of which nothing is left is none of them, unless nothing is left at all.
        """
        left = [part for part in self.parts if part.entry is None or part.entry.records]
        return list(dict.fromkeys(part.origin for part in left or self.parts))

    def count(self) -> int:
        """Return the number of records; reads the parts that no manifest lists."""
        return sum(self.count_part(part) for part in self.parts)

    def count_part(self, part: ArchivePart) -> int:
        """Return the number of records of one part; reads it if no manifest lists it.

        Raises:
            FatalError: It is damaged.
        """
        if part.entry:
            return part.entry.records
        with disk_trouble(self.root, "read"):
            lines = measure(part.path, raw_limit=MAX_RAW, torn=part.is_open).lines
            superseded = read_superseded(self.root, part.number)
        return lines - sum(line < lines for line in superseded)

    def verify(self, part: ArchivePart) -> None:
        """Compare a part with its sum in the manifest; once per reader.

        Raises:
            FatalError: It is not the file that was sealed.
        """
        if part.entry is None or part.number in self._verified:
            return
        with disk_trouble(self.root, "read"):
            found = file_sum(part.path).hexdigest()
        if found != part.entry.sha256:
            raise damaged(part.path, "is not the file that the manifest describes (sha256 differs)")
        self._verified.add(part.number)

    def stream(self, part: ArchivePart, *, place: Place = START) -> PartStream:
        """Open a part at a place; the caller closes it. Verifies the part first.

        Raises:
            FatalError: The part is damaged, or its list of superseded lines is.
            ValueError: No line begins at `place`.
        """
        with disk_trouble(self.root, "read"):
            self.verify(part)
            gone = read_superseded(self.root, part.number)
            self._check_superseded(part, len(gone))
            return PartStream(
                part.path,
                place=place,
                end=self._end(part),
                raw_limit=part.entry.raw_size if part.entry else MAX_RAW,
                lines=part.entry.lines if part.entry else None,
                skipped=gone,
            )

    def _check_superseded(self, part: ArchivePart, count: int) -> None:
        if part.entry is None or count == part.entry.superseded:
            return
        # A job may have taken lines out since this reader was made; then the manifest says so by now.
        manifest = read_manifest(self.root)
        entries = {entry.number: entry for entry in manifest.parts} if manifest else {}
        expected = entries.get(part.number, part.entry).superseded
        if count < expected or (count > expected and manifest and manifest.complete):
            path = superseded_path(self.root, part.number)
            raise damaged(path, f"lists {count} lines; the manifest says {expected}")

    def records(self) -> Iterator[ArchivedRecord]:
        """Give every record, part by part, in the order it was written.

        Raises:
            FatalError: A part is damaged.
            RecordError: A line is not a record.
        """
        for part in self.parts:
            with self.stream(part) as stream:
                while rows := stream.read(_PAGE, max_bytes=_PAGE_BYTES):
                    for number, line in rows:
                        yield _decode(part, number, line)

    # -- opening ------------------------------------------------------------------------------

    def _listed(self, files: dict[int, Path]) -> list[ArchivePart]:
        entries = self.manifest.parts if self.manifest else ()
        parts = [
            ArchivePart(e.number, part_path(self.root, e.number), self._origin_at(e.origin), e)
            for e in entries
        ]
        for part in parts:
            if files.get(part.number) != part.path:
                raise damaged(part.path, "is missing")
            if part.entry and part.entry.records < 0:
                raise damaged(self.root / MANIFEST_NAME, f"takes more lines out of {part.name} than it has")
            size = part.path.stat().st_size
            if part.entry and size != part.entry.size:
                raise damaged(part.path, f"has {size} bytes; the manifest says {part.entry.size}")
        return parts

    def _unlisted(self, files: dict[int, Path]) -> list[ArchivePart]:
        listed = {entry.number for entry in self.manifest.parts} if self.manifest else set()
        numbers = [number for number in files if number not in listed]
        if self.is_complete:
            if numbers:
                names = ", ".join(files[number].name for number in numbers)
                self.warnings.append(f"files that the manifest does not list are not read: {names}")
            return []
        self.warnings.append(
            f"the archive {self.root} was never finished: its writer still runs, or crashed; parts without "
            "a sum cannot be proved intact. Resume the job that wrote it to complete it"
        )
        writing = self.manifest.writing if self.manifest else None
        origin = self._origin_at(writing.origin) if writing else None
        return [ArchivePart(number, files[number], origin) for number in numbers]

    def _origin_at(self, index: int | None) -> Origin | None:
        return self.manifest.origin_at(index) if self.manifest else None

    def _end(self, part: ArchivePart) -> int | None:
        """Return how much of a part is whole: what a crash tore off was never promised."""
        if not part.is_open:
            return None
        if part.number not in self._ends:
            self._ends[part.number] = measure(part.path, raw_limit=MAX_RAW, torn=True).size
        return self._ends[part.number]

    def _makeshift_id(self) -> str:
        first = self.parts[0]
        with self.stream(first) as stream:
            rows = stream.read(1, max_bytes=_PAGE_BYTES)
        key = _decode(first, *rows[0]).key if rows else first.name
        return f"unnamed-{key_digest(key).hex()}"


def _decode(part: ArchivePart, number: int, line: bytes | None) -> ArchivedRecord:
    try:
        if line is not None:
            return decode_line(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason = type(error).__name__
    else:
        reason = "it is too long"
    raise RecordError(f"line {number + 1} of {part.name} is not a record ({reason})", operation="read")
