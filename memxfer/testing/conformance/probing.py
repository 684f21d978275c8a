# ruff: noqa: S101 - asserting is what a test suite does
"""Whether a probe, which sees no more than a user's connection does, finds the provider honest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from memxfer.errors import DecisionRequiredError
from memxfer.migration import ClaimVerdict, probe
from memxfer.spi import SupportsDelete
from memxfer.testing.clock import ManualClock
from memxfer.testing.conformance.basis import ConformanceBasis, requires
from memxfer.testing.conformance.driver import ProviderFactory

__all__ = ["ProbeTests"]


class ProbeTests(ConformanceBasis):
    """Whether `memxfer providers check --probe` would confirm what is declared."""

    @requires("target")
    @pytest.mark.anyio
    async def test_probe_downgrades_nothing(self, provider_factory: ProviderFactory) -> None:
        """No claim is lowered, and nothing is left behind; `unknown` is no claim."""
        provider = provider_factory()
        provider.clock = _PausingClock(self.pause)
        try:
            report = await probe(provider)
        except DecisionRequiredError:
            pytest.skip("the connection leaves open what every record needs, so nothing can be written")
        assert report.cause == "", report.message
        lowered = [
            f"{claim.path}: declared {claim.declared}, found {claim.found}: {claim.note}"
            for claim in report.claims
            if claim.verdict is ClaimVerdict.DOWNGRADED and claim.declared != "unknown"
        ]
        assert lowered == []
        if isinstance(provider, SupportsDelete):
            assert report.leftovers == ()


class _PausingClock(ManualClock):
    """Waits as the suite does: by the hook, not by the time of day."""

    def __init__(self, pause: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._pause = pause

    async def sleep(self, seconds: float) -> None:
        await self._pause()
        await super().sleep(seconds)
