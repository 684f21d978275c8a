"""The conformance suite, through the vendor's client against the emulator.

Twice: Mem0 documents that a text is stored once in a scope, which two standard tests forbid; without
that, all of them hold.
"""

from datetime import UTC, datetime
from typing import ClassVar

import msgspec
import pytest

from memxfer.testing import ProviderConformance, StoredDocument
from memxfer_mem0_platform import Mem0PlatformConfig, Mem0PlatformProvider
from memxfer_mem0_platform.emulator import Mem0PlatformSettings


class PlatformConformance(ProviderConformance):
    """A fresh emulator for each test."""

    emulator_settings: ClassVar[dict] = {}
    connection: ClassVar[dict] = {}

    @pytest.fixture(autouse=True)
    def _set_up(self, platform):
        platform.emulator.apply(Mem0PlatformSettings(**self.emulator_settings))

    @pytest.fixture
    def provider_factory(self, platform):
        config = Mem0PlatformConfig(**platform.settings(**self.connection))
        return lambda: Mem0PlatformProvider(config)

    @pytest.fixture
    def stored_documents(self, platform):
        async def truth():
            return [
                StoredDocument(one["memory"], key=(one["metadata"] or {}).get("memxfer_key"))
                for one in platform.truth()
            ]

        return truth

    @pytest.fixture
    def refused_provider(self, platform):
        return Mem0PlatformProvider(Mem0PlatformConfig(**platform.settings(api_key="wrong")))

    @pytest.fixture
    def unreachable_provider(self, platform, free_port):
        address = f"http://127.0.0.1:{free_port}"
        return Mem0PlatformProvider(Mem0PlatformConfig(**platform.settings(base_url=address)))

    def record(self, index):
        # Mem0 wants a date, or a decision to go without one.
        return msgspec.structs.replace(super().record(index), created_at=datetime(2025, 1, 31, tzinfo=UTC))

    def stored_text(self, text):
        return text.replace("\0", "\u2400")

    def bad_document(self, document):
        body = {**msgspec.json.decode(document.body), "timestamp": "yesterday"}
        return msgspec.structs.replace(document, body=msgspec.json.encode(body))


class TestWithoutCollapse(PlatformConformance):
    emulator_settings: ClassVar[dict] = {"collapse": "off"}


class TestEntityWalk(PlatformConformance):
    emulator_settings: ClassVar[dict] = {"collapse": "off"}
    connection: ClassVar[dict] = {"scopes": "entities"}


class TestAsDocumented(PlatformConformance):
    @pytest.mark.xfail(reason="Mem0 stores a text once in a scope: the second is answered with the first")
    @pytest.mark.anyio
    async def test_equal_records_of_two_keys_are_both_stored(self, provider_factory, stored_documents):
        await super().test_equal_records_of_two_keys_are_both_stored(provider_factory, stored_documents)

    @pytest.mark.xfail(reason="nothing is promised of a key, yet the same text is not stored twice")
    @pytest.mark.anyio
    async def test_second_write_of_a_key_is_as_declared(self, provider_factory, stored_documents):
        await super().test_second_write_of_a_key_is_as_declared(provider_factory, stored_documents)
