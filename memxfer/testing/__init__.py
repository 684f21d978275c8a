"""For tests of providers and of apps: the conformance suite, a provider that fails, a clock by hand.

Needs the extra `testing` (pytest, anyio).
"""

import pytest

# Before the suite is imported: its failures then show the values they compare.
pytest.register_assert_rewrite("memxfer.testing.conformance")

from memxfer.testing.clock import ManualClock  # noqa: E402
from memxfer.testing.conformance import (  # noqa: E402
    Oracle,
    ProviderConformance,
    ProviderFactory,
    Seed,
    StoredDocument,
    SuiteConfig,
)
from memxfer.testing.faults import Fault, FaultKind, FaultScript, SimulatedCrashError  # noqa: E402
from memxfer.testing.faulty import FaultyProvider  # noqa: E402

__all__ = [
    "Fault",
    "FaultKind",
    "FaultScript",
    "FaultyProvider",
    "ManualClock",
    "Oracle",
    "ProviderConformance",
    "ProviderFactory",
    "Seed",
    "SimulatedCrashError",
    "StoredDocument",
    "SuiteConfig",
]
