# ruff: noqa: S101 - asserting is what a test suite does
"""Opening, closing, refusing, and keeping quiet."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from memxfer.errors import AuthError, MemxferError, ProviderError, UnavailableError, UnsupportedOperationError
from memxfer.spi import Document, Role
from memxfer.testing.conformance.basis import ConformanceBasis, requires
from memxfer.testing.conformance.driver import (
    AnyProvider,
    ProviderFactory,
    key_of,
    opened,
    read_records,
    write_all,
)

__all__ = ["LifecycleTests"]

_PRIVATE = "the user's locker code is forty-one seventy"


class LifecycleTests(ConformanceBasis):
    """Opening, closing, refusing, and keeping quiet."""

    @pytest.mark.anyio
    async def test_close_may_come_at_any_time(self, provider_factory: ProviderFactory) -> None:
        """`aclose` before `connect`, and twice after it."""
        provider = provider_factory()
        await provider.aclose()
        await provider.connect(_some_role(provider))
        await provider.aclose()
        await provider.aclose()

    @pytest.mark.anyio
    async def test_connect_may_come_twice(self, provider_factory: ProviderFactory) -> None:
        """The second `connect` is harmless, and so is one after `aclose`."""
        provider = provider_factory()
        try:
            for _ in range(2):
                info = await provider.connect(_some_role(provider))
                assert info.summary.strip()
            store = provider.store()
            await provider.aclose()
            await provider.connect(_some_role(provider))
            assert provider.store() == store
        finally:
            await provider.aclose()

    @requires("target")
    @pytest.mark.anyio
    async def test_begin_and_finish_may_come_twice(self, provider_factory: ProviderFactory) -> None:
        """A resumed job begins again, and finishes again, and may write after that."""
        async with opened(provider_factory, Role.TARGET) as target:
            await write_all(target, self.records(2), pause=self.pause)
            await target.finish()
            written = await write_all(target, self.records(4)[2:], pause=self.pause)
            await target.finish()
        assert all(item.is_stored for item in written)

    @pytest.mark.anyio
    async def test_use_before_connect_and_after_close_is_an_error(
        self, provider_factory: ProviderFactory
    ) -> None:
        """A `ProviderError` that says what to do, before any I/O."""
        provider = provider_factory()
        await self._expect_refusal(provider)
        await provider.connect(_some_role(provider))
        await provider.aclose()
        await self._expect_refusal(provider)

    async def _expect_refusal(self, provider: AnyProvider) -> None:
        if provider.is_target():
            record = self.record(0)
            with pytest.raises(ProviderError):
                provider.prepare(record, key_of(record), {})
            with pytest.raises(ProviderError):
                await provider.write([])
        if provider.is_source():
            with pytest.raises(ProviderError):
                _ = [partition async for partition in provider.list_partitions()]

    @pytest.mark.anyio
    async def test_role_that_is_not_there_is_refused(self, provider_factory: ProviderFactory) -> None:
        """A target alone cannot be read, a source alone cannot be written."""
        provider = provider_factory()
        missing = [
            role
            for role, there in ((Role.SOURCE, provider.is_source()), (Role.TARGET, provider.is_target()))
            if not there
        ]
        if not missing:
            pytest.skip(f"{provider.name} has both roles")
        with pytest.raises(UnsupportedOperationError):
            await provider.connect(missing[0])

    @pytest.mark.anyio
    async def test_refused_key_is_an_auth_error(self, refused_provider: AnyProvider | None) -> None:
        """A key that is refused is found at `connect`, as an `AuthError`."""
        if refused_provider is None:
            pytest.skip("no fixture refused_provider: the backend has no keys")
        with pytest.raises(AuthError):
            await refused_provider.connect(_some_role(refused_provider))
        await refused_provider.aclose()

    @pytest.mark.anyio
    async def test_silent_backend_is_unavailable(self, unreachable_provider: AnyProvider | None) -> None:
        """A backend that does not answer is found at `connect`, as an `UnavailableError`."""
        if unreachable_provider is None:
            pytest.skip("no fixture unreachable_provider: the backend is always there")
        with pytest.raises(UnavailableError):
            await unreachable_provider.connect(_some_role(unreachable_provider))
        await unreachable_provider.aclose()

    @pytest.mark.anyio
    async def test_nothing_private_is_logged_or_shown(
        self, provider_factory: ProviderFactory, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No key in logs, reprs or the preflight; no memory in logs above DEBUG."""
        caplog.set_level(logging.DEBUG)
        provider = provider_factory()
        try:
            info = await provider.connect(_some_role(provider))
            shown = [repr(provider), str(provider), repr(provider.config), str(provider.config), repr(info)]
        finally:
            await provider.aclose()
        await self._move_something_private(provider_factory)
        for secret in _secrets(provider.config):
            assert secret not in caplog.text, "a secret is in the log"
            assert not any(secret in text for text in shown), "a secret is shown"
        loud = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
        assert not any(_PRIVATE in message for message in loud), "a memory is in the log"

    async def _move_something_private(self, provider_factory: ProviderFactory) -> None:
        record = msgspec.structs.replace(self.record(0), content=_PRIVATE)
        if provider_factory().is_target():
            async with opened(provider_factory, Role.TARGET) as target:
                await write_all(target, [record], pause=self.pause)
                document = target.prepare(record, key_of(record), {})
                bad = self.bad_document(document) if isinstance(document, Document) else None
                if bad is not None:
                    await self._provoke(target, bad)
        if provider_factory().is_source():
            async with opened(provider_factory, Role.SOURCE) as source:
                await read_records(source)

    @staticmethod
    async def _provoke(target: AnyProvider, bad: Document) -> None:
        """Send something the backend refuses; what it says back must not carry the memory on."""
        try:
            receipts = await target.write([bad])
        except MemxferError as error:
            errors: list[MemxferError | None] = [error]
        else:
            errors = [receipt.error for receipt in receipts]
        assert not any(_PRIVATE in str(error) for error in errors), "a memory is in an error's text"


def _some_role(provider: AnyProvider) -> Role:
    # Target first: a target makes its store, which a source expects to be there.
    return Role.TARGET if provider.is_target() else Role.SOURCE


def _secrets(value: Any) -> list[str]:
    if isinstance(value, SecretStr):
        return [value.get_secret_value()]
    fields = getattr(type(value), "model_fields", {})
    return [secret for name in fields for secret in _secrets(getattr(value, name))]
