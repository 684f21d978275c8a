"""A wrapper that forgets to forward something would make an engine test pass for the wrong reason."""

import uuid

import pytest

from memxfer.testing import FaultyProvider, ProviderConformance
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore


class TestFaultyWithoutFaults(ProviderConformance):
    @pytest.fixture
    def provider_factory(self):
        name = f"transparent-{uuid.uuid4()}"
        config = MemoryConfig(provider="memory", store=name, acknowledges="async", split_by="user")
        yield lambda: FaultyProvider(MemoryReferenceProvider(config))
        MemoryStore.forget(name)
