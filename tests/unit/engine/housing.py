"""A target whose documents go into rooms, in houses, that must be there first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from memxfer.errors import RecordError
from memxfer.spi import Container, Ensured, IngestState, IngestStatus, Wanted
from memxfer_memory import MemoryReferenceProvider


@dataclass
class Town:
    """What the backend holds, whatever becomes of the process that talks to it."""

    houses: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, list[str]] = field(default_factory=dict)  # house id: room ids; rooms have no names
    contents: dict[str, set[str]] = field(default_factory=dict)  # room id: keys
    calls: list[tuple[str, ...]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    together: int = 0
    most_together: int = 0


class HousingProvider(MemoryReferenceProvider):
    """Users are houses, known by name; sessions are rooms, which nobody can name: like a thread of Zep."""

    town: Town
    container_batch: Mapping[str, int] = {"room": 3}
    tasks = False

    def _prepare(self, record, key, envelope):
        prepared = super()._prepare(record, key, envelope)
        house = Container(f"house:{record.scope.user}", "house", spec={"name": record.scope.user})
        room = Container(f"room:{record.scope.user}/{record.metadata.get('room', '1')}", "room", house.name)
        return msgspec.structs.replace(prepared, containers=(house, room), lane=house.name)

    async def ensure(self, wanted: Sequence[Wanted]) -> Sequence[Ensured]:
        town = self.town
        town.calls.append(tuple(one.container.name for one in wanted))
        town.together += 1
        town.most_together = max(town.most_together, town.together)
        await asyncio.sleep(0)
        town.together -= 1
        if any(one.container.name in town.refused for one in wanted):
            raise RecordError("no such place can be built", code="unbuildable")
        given: set[str] = set()
        return [
            self._house(one) if one.container.kind == "house" else self._room(one, given) for one in wanted
        ]

    def _house(self, wanted: Wanted) -> Ensured:
        name = wanted.container.spec["name"]
        is_new = name not in self.town.houses
        return Ensured(self.town.houses.setdefault(name, f"h-{name}"), is_new=is_new)

    def _room(self, wanted: Wanted, given: set[str]) -> Ensured:
        rooms = self.town.rooms.setdefault(wanted.within_id, [])
        if wanted.tries > 1:
            for room in rooms:
                if room not in wanted.taken | given and not self.town.contents.get(room):
                    given.add(room)
                    return Ensured(room, task=self._task(room))
        room = f"{wanted.within_id}/{len(rooms)}"
        rooms.append(room)
        given.add(room)
        return Ensured(room, task=self._task(room))

    def _task(self, room: str) -> str | None:
        return f"task {room}" if self.tasks else None

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        if not ingestion_id.startswith("task "):
            return await super().ingest_status(ingestion_id)
        if ingestion_id in self.town.refused:
            return IngestStatus(IngestState.FAILED, error=RecordError("it fell down", code="fallen"))
        asked = f"asked {ingestion_id}"
        if asked not in self.town.houses:
            self.town.houses[asked] = ""
            return IngestStatus(IngestState.PROCESSING)
        return IngestStatus(IngestState.STORED)

    async def _write(self, batch):
        assert len({document.lane for document in batch}) == 1
        for document in batch:
            house, room = document.container_ids
            assert room in self.town.rooms[house]
            self.town.contents.setdefault(room, set()).add(document.key)
        return await super()._write(batch)


def housing_of(town: Town, **attributes) -> type[HousingProvider]:
    return type("Housing", (HousingProvider,), {"town": town, **attributes})
