"""The conformance suite over the reference provider, and over the backends it can play."""

import uuid
from typing import ClassVar

import msgspec
import pytest

from memxfer.spi import Axis, ClientKey, Dimension
from memxfer.testing import ProviderConformance
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore


class MemoryConformance(ProviderConformance):
    settings: ClassVar[dict] = {}

    @pytest.fixture
    def provider_factory(self):
        name = f"conformance-{uuid.uuid4()}"
        config = MemoryConfig(provider="memory", store=name, **self.settings)
        yield lambda: MemoryReferenceProvider(config)
        MemoryStore.forget(name)


class TestReference(MemoryConformance):
    settings: ClassVar = {"refuses": frozenset({"refused"}), "content_bytes": 3_000_000}

    def bad_document(self, document):
        return msgspec.structs.replace(document, record_id="refused")


class TestByUserRejecting(MemoryConformance):
    settings: ClassVar = {
        "split_by": "user",
        "max_page": 7,
        "max_batch": 2,
        "client_key": ClientKey.REJECT,
        "required_axes": frozenset({Axis.USER}),
    }


class TestUnstableAsynchronous(MemoryConformance):
    settings: ClassVar = {
        "listing": "offset",
        "acknowledges": "async",
        "polls_until_stored": 3,
        "client_key": ClientKey.DEDUPE,
    }


class TestWithoutKeys(MemoryConformance):
    settings: ClassVar = {"client_key": ClientKey.NONE}


class TestDropping(MemoryConformance):
    settings: ClassVar = {
        "drops": frozenset(Dimension)
        - {Dimension.CONTENT, Dimension.PACKAGING, Dimension.SEARCH, Dimension.SANITISED},
        "widening": "allow",
    }
