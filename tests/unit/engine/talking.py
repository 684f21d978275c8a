"""A target that takes conversations whole, in pieces of a few turns, each piece one request."""

from dataclasses import dataclass, field

import msgspec

from memxfer.errors import RecordError
from memxfer.spi import AmbiguousError, Joined, Outcome, WriteReceipt
from memxfer_memory import MemoryReferenceProvider


@dataclass
class Archive:
    """What the backend holds, whatever becomes of the process that talks to it."""

    pieces: list[tuple[str, ...]] = field(default_factory=list)  # record ids, as they came
    attempts: int = 0
    refused: set[str] = field(default_factory=set)
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)  # key of the first part: ids of rows


class TalkingProvider(MemoryReferenceProvider):
    """Records with a session are turns; `metadata["n"]` is the turn's place."""

    archive: Archive
    piece = 4
    is_idempotent = True

    def _prepare(self, record, key, envelope):
        prepared = super()._prepare(record, key, envelope)
        if not record.metadata.get("talk"):
            return prepared
        if record.content == "refuse me":
            raise RecordError("not this one", code="refused")
        return msgspec.structs.replace(
            prepared,
            group=f"talk:{record.metadata['talk']}",
            rank=f"{record.metadata['n']:06d}",
            lane="talks",
        )

    def join(self, parts):
        if parts[0].group in self.archive.refused:
            raise RecordError("the conversation is too long", code="too_large")
        return [
            Joined(
                msgspec.structs.replace(
                    parts[start],
                    body=tuple(parts[start : start + self.piece]),
                    containers=parts[start].containers,
                ),
                len(parts[start : start + self.piece]),
                is_idempotent=self.is_idempotent,
            )
            for start in range(0, len(parts), self.piece)
        ]

    async def _write(self, batch):
        if batch[0].group is None:
            return await super()._write(batch)
        (document,) = batch
        parts = document.body
        self.archive.attempts += 1
        known = self.archive.known.get(document.key)
        if known is not None and self.is_idempotent:
            return [WriteReceipt(Outcome.PRESENT, target_ids=known)]
        rows = await super()._write(list(parts))
        ids = tuple(one for row in rows for one in row.target_ids)
        self.archive.pieces.append(tuple(part.record_id for part in parts))
        self.archive.known[document.key] = ids
        return [WriteReceipt(Outcome.CREATED, target_ids=ids)]


def talking_of(archive: Archive, **attributes) -> type[TalkingProvider]:
    return type("Talking", (TalkingProvider,), {"archive": archive, **attributes})


class Forgetful(TalkingProvider):
    """Loses the first answer, after it has stored everything."""

    lost = False

    async def _write(self, batch):
        receipts = await super()._write(batch)
        if batch[0].group is not None and not type(self).lost:
            type(self).lost = True
            raise AmbiguousError("the answer was lost")
        return receipts
