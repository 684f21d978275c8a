"""What a move would take, counted on the records: requests, time, money, disk."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict

from memxfer.archive import encode_line
from memxfer.capabilities import Capabilities
from memxfer.gaps import Census, Fidelity
from memxfer.models import MemoryRecord
from memxfer.spi import Document, MemoryProvider, Prepared, SupportsIngestStatus
from memxfer.spi.writing import MOST_LANES

__all__ = ["Forecast", "Forecaster", "Place"]

_BATCH_BYTES = 4 * 2**20
_REMEMBERED = 50_000
_SAMPLED = 16
_THINNED = 256
_ENOUGH = 1_000
"""Every so many originals, one is packed to learn how small they get; fewer, once enough were."""
_PACKING = 6
_OVERHEAD = 1.1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(_Model):
    """How much lands at one kind of place in the target.

    Attributes:
        scope: The provider's name for it, `"user"`.
        records: Memories.
        owners: Different owners among them.
    """

    scope: str
    records: int
    owners: int


class Forecast(_Model):
    """What moving what was read would take.

    The counts equal those of a run over the same records into a target that holds none of them and
    refuses none.

    Attributes:
        listed: Records the job would know: all but those its selection leaves out.
        ignored: Rows beside these that are no memories, by reason.
        documents: Of those listed, how many would be sent.
        skipped: How many a decision leaves out, by reason.
        rejected: How many can never be sent, by code; rows that cannot be read among them.
        undecided: How many wait for a decision, by code; while there are any, nothing is sent.
        places: Where the documents land, the most frequent first.
        read_requests: Requests to the source.
        write_requests: Requests that carry documents, or make what they go into.
        status_requests: Questions whether documents were processed, at the least.
        bytes: Bytes of all documents.
        seconds: Least time under the rate limits that are known; `None` where none is.
        cost: What the documents cost, by the target's `unit_price`; `None` where it names none.
        originals: Records that the residue would keep.
        originals_bytes: About how many bytes they take there, packed.
    """

    listed: int = 0
    ignored: dict[str, int] = {}
    documents: int = 0
    skipped: dict[str, int] = {}
    rejected: dict[str, int] = {}
    undecided: dict[str, int] = {}
    places: tuple[Place, ...] = ()
    read_requests: int = 0
    write_requests: int = 0
    status_requests: int = 0
    bytes: int = 0
    seconds: float | None = None
    cost: float | None = None
    originals: int = 0
    originals_bytes: int = 0


class Forecaster:
    """Counts while a source is read.

    Args:
        source: Connected as source.
        target: Connected as target.
        residue: Which originals the job would keep: `lossy`, `full` or `off`.
    """

    def __init__(self, source: MemoryProvider[Any], target: MemoryProvider[Any], *, residue: str) -> None:
        self._source = source
        self._target = target
        self._residue = residue
        self._fidelity = Fidelity(target.capabilities())
        self._pages = 0
        self._bytes = 0
        self._batches = _Batches(target)
        self._originals = _Originals()

    def add_page(self) -> None:
        """Count one page of the source."""
        self._pages += 1

    def add(self, record: MemoryRecord, prepared: Prepared) -> None:
        """Count one record, and what would become of it."""
        if isinstance(prepared, Document):
            self._bytes += prepared.size
            self._batches.add(prepared)
        if self._keeps(record, prepared):
            self._originals.add(record)

    def finished(self, census: Census) -> Forecast:
        """Return the forecast, with what a census of the same records counted."""
        rejected = Counter({code: tally.records for code, tally in census.refused.items()})
        rejected.update({"unreadable": census.unreadable.records} if census.unreadable.records else {})
        polled = isinstance(self._target, SupportsIngestStatus)
        requests = (self._reads(), self._batches.count, census.documents if polled else 0)
        price = self._target.config.unit_price
        return Forecast(
            listed=census.scanned + census.unreadable.records,
            ignored=census.ignored_rows(),
            documents=census.documents,
            skipped=dict(census.skipped),
            rejected=dict(rejected),
            undecided={code: tally.records for (_, code), tally in census.undecided.items()},
            places=tuple(
                Place(scope=one.scope, records=one.records, owners=one.owners)
                for one in census.crossings.landings()
            ),
            read_requests=requests[0],
            write_requests=requests[1],
            status_requests=requests[2],
            bytes=self._bytes,
            seconds=self._seconds(requests[0], requests[1] + requests[2]),
            cost=None if price is None else round(price * census.documents, 6),
            originals=self._originals.count,
            originals_bytes=self._originals.packed(),
        )

    def _keeps(self, record: MemoryRecord, prepared: Prepared) -> bool:
        if self._residue == "lossy":
            return not self._fidelity.is_whole(record, prepared)
        return self._residue == "full"

    def _reads(self) -> int:
        """Return the pages of a walk, and of one sweep after it where rows move while they are listed."""
        paging = self._source.capabilities().paging
        return self._pages if paging is None or paging.is_stable else 2 * self._pages

    def _seconds(self, reads: int, writes: int) -> float | None:
        times = [
            requests / rate
            for requests, end in ((reads, self._source), (writes, self._target))
            if (rate := _rate(end, end.capabilities()))
        ]
        return round(max(times), 1) if times else None


def _rate(end: MemoryProvider[Any], capabilities: Capabilities) -> float | None:
    """Return requests a second that an end takes, by the connection's settings and the backend's limits."""
    config, minute = end.config, capabilities.limits.requests_per_minute
    rates = [config.max_rate] if config.max_rate else []
    if minute:
        rates.append(minute / 60 * config.quota_share)
    return min(rates, default=None)


class _Batches:
    """Fills batches as a run does when documents come fast enough: lane by lane.

    Groups, and what has to be made before documents, are counted exactly where the source lists their
    parts together, and too high where they are scattered over the source.
    """

    def __init__(self, target: MemoryProvider[Any]) -> None:
        writing = target.capabilities().writing
        most = writing.max_batch if writing else 1
        self._most = min(target.config.batch_size or most, most)
        self._filling: dict[str, tuple[int, int]] = {}
        self._met: dict[str, None] = {}
        self.count = 0

    def add(self, document: Document) -> None:
        """Add one document."""
        for container in document.containers:
            self._meet(container.name)
        if document.group is not None:
            self._meet(document.group)
            return
        documents, size = self._filling.get(document.lane, (self._most, 0))
        if documents >= self._most or size + document.size > _BATCH_BYTES:
            self.count += 1
            documents = size = 0
        self._filling[document.lane] = (documents + 1, size + document.size)
        if len(self._filling) > MOST_LANES:
            del self._filling[next(iter(self._filling))]

    def _meet(self, name: str) -> None:
        """Count a request for something that takes one of its own, unless it was met of late."""
        if name in self._met:
            return
        self.count += 1
        self._met[name] = None
        if len(self._met) > _REMEMBERED:
            del self._met[next(iter(self._met))]


class _Originals:
    """Measures what originals take on disk, by packing some of them."""

    def __init__(self) -> None:
        self.count = 0
        self._sampled = 0
        self._packer = zlib.compressobj(_PACKING)
        self._size = 0

    def add(self, record: MemoryRecord) -> None:
        """Count one."""
        if self.count % (_SAMPLED if self._sampled < _ENOUGH else _THINNED) == 0:
            self._sampled += 1
            self._size += len(self._packer.compress(encode_line(record.id, record) + b"\n"))
        self.count += 1

    def packed(self) -> int:
        """Return about how many bytes they take together."""
        if not self._sampled:
            return 0
        self._size += len(self._packer.flush(zlib.Z_FULL_FLUSH))
        return math.ceil(self._size / self._sampled * self.count * _OVERHEAD)
