"""The conformance suite over the emulator: a source alone."""

import pytest

from memxfer.testing import ProviderConformance


class TestMem0Server(ProviderConformance):
    """A fresh emulator; the suite's records are put in past the provider."""

    @pytest.fixture
    def provider_factory(self, emulated):
        return lambda: emulated.provider(history=True)

    @pytest.fixture
    def refused_provider(self, emulated):
        return emulated.provider(api_key="wrong")

    @pytest.fixture
    def unreachable_provider(self, emulated, free_port):
        return emulated.provider(base_url=f"http://127.0.0.1:{free_port}")

    @pytest.fixture
    def seed(self, emulated):
        async def put(records):
            for record in records:
                [name] = emulated.put(
                    memory=record.content, user_id=record.scope.user, metadata=record.metadata
                )
                emulated.note(name, "ADD", None, record.content)

        return put
