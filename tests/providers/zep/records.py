"""Records that the tests of the target side write."""

from datetime import UTC, datetime

from memxfer.spi import MemoryRecord, Message, Scope

AT = datetime(2024, 3, 9, tzinfo=UTC)


def fact(number=0, *, user="ann", **fields):
    return MemoryRecord(
        **{
            "id": f"r{number}",
            "content": f"fact {number}",
            "scope": Scope(user=user),
            "created_at": AT,
            **fields,
        }
    )


def text(number=0, **fields):
    return fact(number, kind="event", **fields)


def talk(number=0):
    message = Message(role="user", content=f"turn {number}", at=AT)
    return fact(number, content="", messages=(message,), scope=Scope(user="ann", session="42"))


async def staged(staging, *records):
    found = [staging.target.prepare(one, f"k:{one.id}", {}) for one in records]
    return [await staging.stage(document) for document in found]
