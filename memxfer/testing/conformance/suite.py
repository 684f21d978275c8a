"""The whole suite, and the guard against leaving parts of it out."""

from __future__ import annotations

import inspect

from memxfer.testing.conformance.bounds import BoundsTests
from memxfer.testing.conformance.capability import CapabilityTests
from memxfer.testing.conformance.fidelity import FidelityTests
from memxfer.testing.conformance.identity import IdentityTests
from memxfer.testing.conformance.lifecycle import LifecycleTests
from memxfer.testing.conformance.paging import PagingTests
from memxfer.testing.conformance.probing import ProbeTests
from memxfer.testing.conformance.writing import WriteTests

__all__ = ["ProviderConformance"]


class ProviderConformance(
    IdentityTests,
    CapabilityTests,
    PagingTests,
    FidelityTests,
    WriteTests,
    BoundsTests,
    LifecycleTests,
    ProbeTests,
):
    """Every claim of a provider, tried.

    Subclass it in a test module, under a name that begins with `Test`, and give the fixture
    `provider_factory`. Which tests apply is read off the provider: its roles, its optional operations,
    its capabilities; the others are skipped and say why. A standard test can be replaced only under
    `@pytest.mark.xfail(reason=...)`.

    Example:
        ```python
        class TestArchive(ProviderConformance):
            @pytest.fixture
            def provider_factory(self, tmp_path):
                config = ArchiveConfig(provider="archive", path=tmp_path / "backup")
                return lambda: ArchiveProvider(config)
        ```
    """

    def test_standard_tests_are_not_replaced(self) -> None:
        """Fix the provider or its declaration; a known gap is an xfail with a reason."""
        replaced = [name for name in _standard_tests() if self._is_replaced(name)]
        assert replaced == [], f"replaced without xfail(reason=...): {', '.join(replaced)}"  # noqa: S101

    @classmethod
    def _is_replaced(cls, name: str) -> bool:
        own = inspect.getattr_static(cls, name)
        standard = inspect.getattr_static(ProviderConformance, name)
        if own is standard:
            return False
        marks = getattr(own, "pytestmark", [])
        return not any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def _standard_tests() -> list[str]:
    return [name for name in dir(ProviderConformance) if name.startswith("test_")]
