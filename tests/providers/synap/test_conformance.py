"""The conformance suite over the emulator, on both transports and for every duplicate policy.

Synap is a target alone: what is stored is read from the emulator's truth, as documents.
"""

from datetime import UTC, datetime
from typing import ClassVar

import httpx
import msgspec
import pytest

from memxfer.spi import Timeouts
from memxfer.testing import ProviderConformance, StoredDocument
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapSettings


class SynapConformance(ProviderConformance):
    """A fresh emulator whose policy for known document ids is the one the connection was told."""

    emulator_policy: ClassVar[str]
    told_policy: ClassVar[str]

    @pytest.fixture
    def address(self, running_emulator):
        emulator = running_emulator.emulator
        emulator.reset()
        emulator.apply(SynapSettings(duplicate_policy=self.emulator_policy))
        return running_emulator.base_url

    @pytest.fixture
    def settings(self, address, transport):
        return {
            "provider": "synap",
            "api_key": EMULATOR_API_KEY,
            "base_url": address,
            "transport": transport,
            "customer_id": "acme",
            "duplicate_policy": self.told_policy,
            "timeouts": Timeouts(connect=2, read=5, write=5),
        }

    @pytest.fixture
    def provider_factory(self, settings):
        config = SynapConfig(**settings)
        return lambda: SynapProvider(config)

    @pytest.fixture
    def stored_documents(self, address):
        async def truth():
            async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
                answer = await client.get("/_emulator/truth")
            return [
                StoredDocument(one["document"]["document"], key=one["document_id"])
                for one in answer.json()["documents"]
                if one["memories"]
                for _ in range(one["times_stored"])
            ]

        return truth

    @pytest.fixture
    def refused_provider(self, settings):
        return SynapProvider(SynapConfig(**{**settings, "api_key": "wrong"}))

    @pytest.fixture
    def unreachable_provider(self, settings, free_port):
        return SynapProvider(SynapConfig(**{**settings, "base_url": f"http://127.0.0.1:{free_port}"}))

    def record(self, index):
        # Synap wants a date, or a decision to go without one.
        return msgspec.structs.replace(super().record(index), created_at=datetime(2025, 1, 31, tzinfo=UTC))

    def stored_text(self, text):
        return text.replace("\0", "\u2400")

    def bad_document(self, document):
        body = {**msgspec.json.decode(document.body), "document": ""}
        return msgspec.structs.replace(document, body=msgspec.json.encode(body))


class TestUpdate(SynapConformance):
    emulator_policy, told_policy = "update", "upsert"


class OnePolicyMore(SynapConformance):
    """The other policies differ in the answers alone, which both transports read alike."""

    @pytest.fixture
    def transport(self):
        return "http"


class TestEcho(OnePolicyMore):
    emulator_policy, told_policy = "echo", "dedupe"


class TestRowError(OnePolicyMore):
    emulator_policy, told_policy = "row_error", "reject"


class TestConflict(OnePolicyMore):
    emulator_policy, told_policy = "conflict", "reject"


class TestStoreTwice(OnePolicyMore):
    emulator_policy, told_policy = "store_twice", "append"


class TestTranscripts(OnePolicyMore):
    """Where conversations go as transcripts, all else goes as ever."""

    emulator_policy, told_policy = "update", "upsert"

    @pytest.fixture
    def provider_factory(self, settings):
        config = SynapConfig(**settings, conversations="transcript")
        return lambda: SynapProvider(config)
