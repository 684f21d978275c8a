# ruff: noqa: S101 - asserting is what a test suite does
"""Whether texts, times and metadata come back as they went: stores break on the odd ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from memxfer.capabilities import Dimension, Level
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Role
from memxfer.testing.conformance.basis import ConformanceBasis, Oracle, requires, skip_if_rewriting
from memxfer.testing.conformance.driver import (
    ProviderFactory,
    Written,
    opened,
    read_records,
    write_all,
)
from memxfer.testing.conformance.samples import CONTENTS, NESTED_METADATA, truncate

__all__ = ["FidelityTests"]

_INDIA = timezone(timedelta(hours=5, minutes=30))
_TIMES = {
    "with_offset": datetime(2024, 5, 1, 1, 30, 15, tzinfo=_INDIA),
    "before_1970": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    "microseconds": datetime(2024, 2, 29, 12, 0, 0, 999999, tzinfo=UTC),
}


class FidelityTests(ConformanceBasis):
    """Whether texts, times and metadata come back as they went."""

    @requires("target")
    @pytest.mark.anyio
    @pytest.mark.parametrize("text", CONTENTS)
    async def test_content_is_kept_or_refused(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None, text: str
    ) -> None:
        """Any text is stored as it is, or refused by `prepare` or receipt: never trimmed or replaced.

        A text that is stored in another form needs the hook `stored_text`, and a declaration that says so.
        """
        sent = msgspec.structs.replace(self.record(0), content=CONTENTS[text])
        async with opened(provider_factory, Role.TARGET) as target:
            capabilities = target.capabilities()
            if target.is_source():
                skip_if_rewriting(capabilities)
            written = (await write_all(target, [sent], pause=self.pause))[0]
        if not written.is_stored:
            return
        if stored_documents is None:
            pytest.skip("a target alone, without a fixture stored_documents")
        expected = self.stored_text(sent.content)
        if expected != sent.content:
            levels = [capabilities.channel(d).write for d in (Dimension.CONTENT, Dimension.SANITISED)]
            assert min(levels) < Level.NATIVE, "a text is changed, but CONTENT and SANITISED are NATIVE"
        assert [document.content for document in await stored_documents()] == [expected]

    @requires("source", "target")
    @pytest.mark.anyio
    @pytest.mark.parametrize("moment", _TIMES)
    async def test_times_are_moments(self, provider_factory: ProviderFactory, moment: str) -> None:
        """A time is a moment: it comes back in UTC, whatever zone it had."""
        sent = msgspec.structs.replace(self.record(0), created_at=_TIMES[moment])
        await self._skip_unless_native(provider_factory, Dimension.CREATED_AT)
        written = await self._write(provider_factory, sent)
        assert written.is_stored
        async with opened(provider_factory, Role.TARGET) as target:
            writing = target.capabilities().writing
        async with opened(provider_factory, Role.SOURCE) as source:
            found = (await read_records(source))[0].created_at
        assert found is not None
        assert found.utcoffset() == timedelta(0)
        precision = writing.backdates if writing else "microsecond"
        assert truncate(found, precision) == truncate(sent.created_at, precision)

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_nested_metadata_is_kept(self, provider_factory: ProviderFactory) -> None:
        """METADATA declared NATIVE holds nested lists, maps, numbers and nulls; else declare LOSSY."""
        await self._skip_unless_native(provider_factory, Dimension.METADATA)
        sent = msgspec.structs.replace(self.record(0), metadata=NESTED_METADATA)
        assert (await self._write(provider_factory, sent)).is_stored
        async with opened(provider_factory, Role.SOURCE) as source:
            assert (await read_records(source))[0].metadata == NESTED_METADATA

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_odd_owner_ids_are_kept(self, provider_factory: ProviderFactory) -> None:
        """Owner ids are opaque: `Ann`, `ann` and ` ann ` are three people."""
        await self._skip_unless_native(provider_factory, Dimension.USER)
        users = ["Ann", "ann", " ann ", "ann/b:c%20", "анна@example.org"]
        sent = [
            msgspec.structs.replace(self.record(index), scope=self._owned_by(user, index))
            for index, user in enumerate(users)
        ]
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, sent, pause=self.pause)
        stored = {item.record.content: item.record.scope.user for item in written if item.is_stored}
        async with opened(provider_factory, Role.SOURCE) as source:
            found = {record.content: record.scope.user for record in await read_records(source)}
        assert found == stored
        assert stored

    async def _write(self, provider_factory: ProviderFactory, record: MemoryRecord) -> Written:
        async with opened(provider_factory, Role.TARGET) as target:
            skip_if_rewriting(target.capabilities())
            return (await write_all(target, [record], pause=self.pause))[0]

    def _owned_by(self, user: str, index: int) -> Scope:
        return msgspec.structs.replace(self.scope(index), user=user)

    async def _skip_unless_native(self, provider_factory: ProviderFactory, dimension: Dimension) -> None:
        async with opened(provider_factory, Role.TARGET) as target:
            skip_if_rewriting(target.capabilities())
            if target.capabilities().channel(dimension).write < Level.NATIVE:
                pytest.skip(f"{dimension} is not declared NATIVE")
