# ruff: noqa: S101 - asserting is what a test suite does
"""What every group of the suite stands on: fixtures an author gives, hooks an author may change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest

from memxfer.capabilities import Capabilities
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Document, MemoryProvider, Role
from memxfer.testing.conformance.driver import AnyProvider, ProviderFactory, opened, read_records, write_all

__all__ = [
    "ConformanceBasis",
    "Oracle",
    "Seed",
    "StoredDocument",
    "SuiteConfig",
    "requires",
    "skip_if_rewriting",
]

_Test = TypeVar("_Test", bound=Callable[..., Any])
_NEEDS = "__conformance_needs__"
_OPERATIONS = ("count", "get", "lookup", "delete", "history", "ingest_status")


@dataclass(frozen=True, slots=True)
class SuiteConfig:
    """Numbers of the suite, to be lowered for slow backends.

    Attributes:
        records: Records in a walk.
        page_size: Records in a page of it.
        largest_batch: Documents in the fullest batch that is tried.
        concurrent: The store can be open for reading and writing at once.
    """

    records: int = 23
    page_size: int = 5
    largest_batch: int = 50
    concurrent: bool = True


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One stored copy, as found in the backend itself.

    Attributes:
        content: Its text.
        key: Its document key, where the backend keeps it.
        metadata: Its metadata.
    """

    content: str
    key: str | None = None
    metadata: dict[str, Any] | None = None


Oracle = Callable[[], Awaitable[Sequence[StoredDocument]]]
Seed = Callable[[Sequence[MemoryRecord]], Awaitable[None]]


def requires(*needs: str) -> Callable[[_Test], _Test]:
    """Run a test only for providers that are a `source` or `target`, or have an operation such as `count`."""

    def mark(test: _Test) -> _Test:
        setattr(test, _NEEDS, needs)
        return test

    return mark


def skip_if_rewriting(capabilities: Capabilities) -> None:
    """Leave out a comparison that a target which extracts or rewrites cannot pass."""
    if capabilities.writing and not capabilities.writing.verbatim:
        pytest.skip("the backend rewrites what it is given, so nothing can be compared")


class ConformanceBasis:
    """Fixtures and hooks. An author must give `provider_factory`; the rest has defaults.

    Attributes:
        suite_config: Numbers of the suite.
    """

    suite_config: ClassVar[SuiteConfig] = SuiteConfig()

    # -- fixtures -----------------------------------------------------------------------------

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Providers run on asyncio."""
        return "asyncio"

    @pytest.fixture
    def provider_factory(self) -> ProviderFactory:
        """Give a function that makes a new, unconnected provider over one store, empty at first."""
        pytest.fail(f"{type(self).__name__} must override the fixture provider_factory")

    @pytest.fixture
    def stored_documents(self, provider_factory: ProviderFactory) -> Oracle | None:
        """Give a look into the backend past the provider; `None`: there is none.

        A provider that is a source as well is read back by default. A target alone needs this fixture
        (its emulator's truth dump), or what it stores stays untested, and the skips say so.
        """
        if not provider_factory().is_source():
            return None

        async def read_back() -> Sequence[StoredDocument]:
            async with opened(provider_factory, Role.SOURCE) as provider:
                records = await read_records(provider)
            return [StoredDocument(record.content, metadata=record.metadata) for record in records]

        return read_back

    @pytest.fixture
    def seed(self, provider_factory: ProviderFactory) -> Seed:
        """Give a function that puts records into the store; a source alone must override it."""
        if not provider_factory().is_target():
            pytest.fail(f"{type(self).__name__} tests a source alone: override the fixture seed")

        async def write(records: Sequence[MemoryRecord]) -> None:
            async with opened(provider_factory, Role.TARGET) as provider:
                written = await write_all(provider, records, pause=self.pause)
            missing = [item.prepared for item in written if not item.is_stored]
            assert not missing, f"the suite's own records were not stored: {missing[0]!r:.300}"

        return write

    @pytest.fixture
    def refused_provider(self) -> AnyProvider | None:
        """Give a provider whose key the backend refuses; `None`: it has no keys."""
        return None

    @pytest.fixture
    def unreachable_provider(self) -> AnyProvider | None:
        """Give a provider whose backend does not answer; `None`: it cannot happen."""
        return None

    @pytest.fixture(autouse=True)
    def _fits_provider(self, request: pytest.FixtureRequest, provider_factory: ProviderFactory) -> None:
        provider = provider_factory()
        for need in getattr(request.function, _NEEDS, ()):
            if not _has(provider, need):
                pytest.skip(f"{provider.name} has no {need}, so this does not apply")

    # -- hooks --------------------------------------------------------------------------------

    def record(self, index: int) -> MemoryRecord:
        """Return the suite's record number `index`: its id, content and owner are its own."""
        return MemoryRecord(
            id=self.record_id(index), content=f"memory number {index} of the suite", scope=self.scope(index)
        )

    def records(self, count: int) -> list[MemoryRecord]:
        """Return the suite's first records."""
        return [self.record(index) for index in range(count)]

    def record_id(self, index: int) -> str:
        """Return the id of a record; override where a backend's ids have a form."""
        return f"record-{index:04d}"

    def scope(self, index: int) -> Scope:
        """Return a scope that the backend takes; override where it needs more than a user."""
        return Scope(user=f"user-{index % 3}")

    def stored_text(self, text: str) -> str:
        """Return what the backend stores for a text; override for characters that it cannot hold."""
        return text

    def bad_document(self, document: Document) -> Document | None:
        """Return a variant of `document` that the backend itself refuses; `None`: there is none."""
        del document
        return None

    async def pause(self) -> None:
        """Let a backend that stores later make progress; advance an emulator's clock here."""


def _has(provider: MemoryProvider[Any], need: str) -> bool:
    if need == "source":
        return provider.is_source()
    if need == "target":
        return provider.is_target()
    if need not in _OPERATIONS:
        raise ValueError(f"no such need: {need}")
    return hasattr(type(provider), need)
