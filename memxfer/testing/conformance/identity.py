# ruff: noqa: S101 - asserting is what a test suite does
"""Who the provider is: names, settings, roles, the store's identity."""

from __future__ import annotations

import re

import pytest

from memxfer.spi import ConnectionConfig, Role
from memxfer.testing.conformance.basis import ConformanceBasis
from memxfer.testing.conformance.driver import ProviderFactory, opened

__all__ = ["IdentityTests"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class IdentityTests(ConformanceBasis):
    """Who the provider is."""

    def test_name_is_a_plain_word(self, provider_factory: ProviderFactory) -> None:
        """Names stand in configuration and keys: lower case, digits, single hyphens."""
        provider = provider_factory()
        assert _NAME.fullmatch(provider.name), provider.name
        assert provider.summary.strip()
        assert "\n" not in provider.summary

    def test_every_setting_is_described(self, provider_factory: ProviderFactory) -> None:
        """Help and docs are made from the descriptions: `Field(description=...)`."""
        model = provider_factory().config_model
        assert issubclass(model, ConnectionConfig)
        bare = [name for name, field in model.model_fields.items() if not field.description]
        assert bare == []

    def test_factory_gives_new_unconnected_providers(self, provider_factory: ProviderFactory) -> None:
        """Every test needs an instance of its own: return a new one, do not connect it."""
        first, second = provider_factory(), provider_factory()
        assert first is not second
        assert first.role is None

    def test_has_a_role(self, provider_factory: ProviderFactory) -> None:
        """Implement `_read_page`, `_write` or both."""
        provider = provider_factory()
        assert provider.is_source() or provider.is_target()

    @pytest.mark.anyio
    async def test_capabilities_say_the_same_roles(self, provider_factory: ProviderFactory) -> None:
        """`paging` is set exactly for a source, `writing` exactly for a target."""
        async with opened(provider_factory, self._some_role(provider_factory)) as provider:
            capabilities = provider.capabilities()
            assert (capabilities.paging is not None) == provider.is_source()
            assert (capabilities.writing is not None) == provider.is_target()

    @pytest.mark.anyio
    async def test_store_identity_is_the_same_every_time(self, provider_factory: ProviderFactory) -> None:
        """Keys are made from it: it must come from the store, not from a connection or a moment."""
        role = self._some_role(provider_factory)
        async with opened(provider_factory, role) as provider:
            first = provider.store()
        async with opened(provider_factory, role) as provider:
            second = provider.store()
        assert first == second
        assert first.provider
        assert first.namespace

    @staticmethod
    def _some_role(provider_factory: ProviderFactory) -> Role:
        # Target first: a target makes its store, which a source expects to be there.
        return Role.TARGET if provider_factory().is_target() else Role.SOURCE
