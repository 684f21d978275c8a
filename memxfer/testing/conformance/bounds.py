# ruff: noqa: S101 - asserting is what a test suite does
"""Whether limits and owners are respected before anything is sent, and owners stay apart."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from memxfer.capabilities import Axis, Capabilities, Dimension, Level
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Document, Refused, Role, Skipped
from memxfer.testing.conformance.basis import ConformanceBasis, Oracle, requires
from memxfer.testing.conformance.driver import ProviderFactory, key_of, opened, read_records, write_all

__all__ = ["BoundsTests"]

_TEXT = "a private sentence that belongs in no message"


class BoundsTests(ConformanceBasis):
    """Whether limits and owners are respected."""

    @requires("target")
    @pytest.mark.anyio
    async def test_prepare_is_pure(
        self, provider_factory: ProviderFactory, stored_documents: Oracle | None
    ) -> None:
        """A plan prepares every record and must write nothing; the same record gives the same document."""
        async with opened(provider_factory, Role.TARGET) as target:
            record = self.record(0)
            first = target.prepare(record, key_of(record), {})
            second = target.prepare(record, key_of(record), {})
        assert isinstance(first, Document)
        assert first == second
        assert first.key == key_of(record)
        assert first.record_id == record.id
        if stored_documents is not None:
            assert list(await stored_documents()) == []

    @requires("target")
    @pytest.mark.anyio
    async def test_size_bounds_the_content(self, provider_factory: ProviderFactory) -> None:
        """Memory and requests are bounded by `size`: it covers the text at least."""
        async with opened(provider_factory, Role.TARGET) as target:
            record = msgspec.structs.replace(self.record(0), content="x" * 3_000)
            prepared = target.prepare(record, key_of(record), {})
        assert isinstance(prepared, Document)
        assert prepared.size >= 3_000

    @requires("target")
    @pytest.mark.anyio
    async def test_content_over_the_limit_is_refused_before_sending(
        self, provider_factory: ProviderFactory
    ) -> None:
        """`limits.content_bytes` counts bytes of UTF-8: at the limit it fits, one byte more is `Refused`."""
        async with opened(provider_factory, Role.TARGET) as target:
            bound = target.capabilities().limits.content_bytes
            if bound is None:
                pytest.skip("no limit on content is declared")
            fits = msgspec.structs.replace(self.record(0), content="x" * bound)
            over = msgspec.structs.replace(self.record(1), content="x" * (bound - 1) + "é")
            assert isinstance(target.prepare(fits, key_of(fits), {}), Document)
            refused = target.prepare(over, key_of(over), {})
        assert isinstance(refused, Refused)
        assert refused.error.code

    @requires("target")
    @pytest.mark.anyio
    async def test_missing_owner_is_refused_before_sending(self, provider_factory: ProviderFactory) -> None:
        """A record without a required axis needs a decision: it is never sent as anybody's."""
        async with opened(provider_factory, Role.TARGET) as target:
            required = target.capabilities().identity.required_to_write
            if not any(required) or frozenset() in required:
                pytest.skip("no axis is required")
            record = msgspec.structs.replace(self.record(0), scope=Scope(), content=_TEXT)
            prepared = target.prepare(record, key_of(record), {})
        assert not isinstance(prepared, Document)
        if isinstance(prepared, Refused):
            assert prepared.error.code
            assert prepared.remedies, "a decision is missing: name the settings that make it"
            assert _TEXT not in str(prepared.error)
        else:
            assert isinstance(prepared, Skipped)
            assert prepared.reason

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_owners_stay_apart(self, provider_factory: ProviderFactory) -> None:
        """Records of several owners in one batch come back with their own."""
        records = self.records(7)
        async with opened(provider_factory, Role.TARGET) as target:
            axes = _native_axes(target.capabilities())
            written = await write_all(target, records, pause=self.pause)
        assert all(item.is_stored for item in written)
        async with opened(provider_factory, Role.SOURCE) as source:
            found = {record.content: record for record in await read_records(source)}
        for record in records:
            assert _visible(found[record.content], axes) == _visible(record, axes)

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_no_scope_widens(self, provider_factory: ProviderFactory) -> None:
        """Every combination of axes: what was one owner's never comes back as anybody's."""
        async with opened(provider_factory, Role.TARGET) as target:
            capabilities = target.capabilities()
            axes = sorted(capabilities.identity.axes)
            records = [
                self._scoped(index, axes, flags) for index, flags in enumerate(_combinations(len(axes)))
            ]
            written = await write_all(target, records, pause=self.pause)
        stored = [item.record for item in written if item.is_stored]
        assert stored
        async with opened(provider_factory, Role.SOURCE) as source:
            found = {record.content: record for record in await read_records(source)}
        native = _native_axes(capabilities)
        for record in stored:
            assert record.content in found
            assert _visible(found[record.content], native) == _visible(record, native)

    def _scoped(self, index: int, axes: list[Axis], flags: tuple[bool, ...]) -> MemoryRecord:
        named = {str(axis): f"{axis}-{index}" for axis, flag in zip(axes, flags, strict=True) if flag}
        scope = msgspec.convert(named, Scope)
        return msgspec.structs.replace(self.record(index), scope=scope)


def _combinations(count: int) -> list[tuple[bool, ...]]:
    """All settings of `count` axes; single axes, pairs and all of them when there are many."""
    every = list(product((False, True), repeat=count))
    if count <= 4:
        return every
    return [flags for flags in every if sum(flags) in (1, 2, count)]


def _native_axes(capabilities: Capabilities) -> frozenset[Axis]:
    return frozenset(
        axis for axis in Axis if capabilities.channel(Dimension(axis.value)).write is Level.NATIVE
    )


def _visible(record: MemoryRecord, axes: frozenset[Axis]) -> dict[str, str | None]:
    return {str(axis): getattr(record.scope, axis) for axis in axes}
