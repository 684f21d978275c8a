# ruff: noqa: S101 - asserting is what a test suite does
"""Whether what is declared is so: each dimension is written, read back and compared with its level."""

from __future__ import annotations

import pytest

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Refused, Role
from memxfer.testing.conformance.basis import ConformanceBasis, requires, skip_if_rewriting
from memxfer.testing.conformance.driver import (
    ORIGIN,
    ProviderFactory,
    Written,
    key_of,
    opened,
    read_records,
    send,
    settle,
    write_all,
)
from memxfer.testing.conformance.samples import TRIALS, truncate

__all__ = ["CapabilityTests"]

_BARE = MemoryRecord(id="", content="")


class CapabilityTests(ConformanceBasis):
    """Whether what is declared is so."""

    @pytest.mark.anyio
    async def test_capabilities_are_stable(self, provider_factory: ProviderFactory) -> None:
        """They are read often and compared: the same object value each time, for each instance."""
        role = Role.TARGET if provider_factory().is_target() else Role.SOURCE
        async with opened(provider_factory, role) as provider:
            first = provider.capabilities()
            # The public method remembers its answer: the author's own is what has to be stable.
            assert provider._capabilities() == provider._capabilities() == first  # noqa: SLF001
        async with opened(provider_factory, role) as provider:
            assert provider.capabilities() == first

    @requires("source", "target")
    @pytest.mark.anyio
    @pytest.mark.parametrize("dimension", TRIALS, ids=str)
    async def test_dimension_survives_as_declared(
        self, provider_factory: ProviderFactory, dimension: Dimension
    ) -> None:
        """NATIVE must come back equal, LOSSY in some form, NONE not at all; else correct the declaration."""
        sent = TRIALS[dimension].put(self.record(0))
        async with opened(provider_factory, Role.TARGET) as target:
            capabilities = target.capabilities()
            skip_if_rewriting(capabilities)
            written = (await write_all(target, [sent], pause=self.pause))[0]
        if not written.is_stored:
            assert capabilities.channel(dimension).write < Level.NATIVE, (
                f"{dimension} is declared NATIVE, but a record with it is refused: {written.prepared!r:.300}"
            )
            return
        async with opened(provider_factory, Role.SOURCE) as source:
            found = await read_records(source)
            level = min(
                capabilities.channel(dimension).write,
                source.capabilities().channel(dimension).read,
                *_exceptions(written, dimension, capabilities),
            )
        assert len(found) == 1
        _compare(dimension, level, sent, found[0], capabilities)

    @requires("target")
    @pytest.mark.anyio
    async def test_envelope_is_kept(self, provider_factory: ProviderFactory) -> None:
        """ENVELOPE on writing promises that `prepare` puts the envelope it is given into the document."""
        async with opened(provider_factory, Role.TARGET) as target:
            dimensions = target.capabilities().dimensions
            if not any(channel.write is Level.ENVELOPE for channel in dimensions.values()):
                pytest.skip("no dimension is declared ENVELOPE")
            record = self.record(0)
            plain = target.prepare(record, key_of(record), {})
            full = target.prepare(record, key_of(record), {"pinned": True})
            if isinstance(full, Refused):
                assert full.error.code
                return
            assert isinstance(plain, Document)
            assert isinstance(full, Document)
            assert full.body != plain.body, "the envelope makes no difference to what is sent"
            await target.begin(ORIGIN)
            receipts = await send(target, [full])
            statuses = await settle(target, receipts, self.pause)
            assert Written(record, full, receipts[0], statuses[0]).is_stored


def _exceptions(written: Written, dimension: Dimension, capabilities: Capabilities) -> list[Level]:
    """Return the levels that a single document was said to have instead of the declared one."""
    words = written.prepared.changes if isinstance(written.prepared, Document) else ()
    unexplained = set(words) - capabilities.changes.keys()
    assert not unexplained, f"Document.changes has {unexplained}; explain them in Capabilities.changes"
    changes = [capabilities.changes[word] for word in words]
    return [change.level for change in changes if change.dimension is dimension]


def _compare(
    dimension: Dimension, level: Level, sent: MemoryRecord, found: MemoryRecord, capabilities: Capabilities
) -> None:
    look = TRIALS[dimension].look
    precision = capabilities.writing.backdates if capabilities.writing else "microsecond"
    before, after = truncate(look(sent), precision), truncate(look(found), precision)
    if level is Level.NATIVE:
        assert after == before, f"{dimension} is declared NATIVE and comes back changed"
    elif level is Level.NONE:
        assert after != before, f"{dimension} is declared NONE and comes back whole: declare what is so"
    elif level is Level.LOSSY:
        assert after != look(_BARE), f"{dimension} is declared LOSSY and is gone: declare NONE"
