"""memxfer's own archive: a folder with a manifest and parts of gzipped JSON lines, one record a line.

```
backup/
  manifest.json                what it holds, and the sha256 of every sealed part
  records/part-00001.jsonl.gz  lines {"key": ..., "record": {...}}, in a residue {"key", "record",
                               "mark", "partition"}; never changed once sealed
  records/part-00001.superseded  numbers of lines that no longer count, where there are any
  index.sqlite                 where each key lies; derived, may be deleted
```
"""

from memxfer.archive.line import (
    MAX_LINE,
    ArchivedRecord,
    decode_line,
    encode_line,
    frame_line,
    identity,
)
from memxfer.archive.manifest import VERSION, Manifest, Origin, PartEntry, read_manifest
from memxfer.archive.reader import ArchivePart, ArchiveReader
from memxfer.archive.residue import ResidueArchive
from memxfer.archive.stream import START, PartStream, Place
from memxfer.archive.travel import is_archive_file, snapshot
from memxfer.archive.writer import Appended, ArchiveWriter, create_archive, plan_archive
from memxfer.ids import record_mark

__all__ = [
    "MAX_LINE",
    "START",
    "VERSION",
    "Appended",
    "ArchivePart",
    "ArchiveReader",
    "ArchiveWriter",
    "ArchivedRecord",
    "Manifest",
    "Origin",
    "PartEntry",
    "PartStream",
    "Place",
    "ResidueArchive",
    "create_archive",
    "decode_line",
    "encode_line",
    "frame_line",
    "identity",
    "is_archive_file",
    "plan_archive",
    "read_manifest",
    "record_mark",
    "snapshot",
]
