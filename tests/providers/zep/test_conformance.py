"""The conformance suite over the emulator, for facts and for messages: a source alone."""

from typing import ClassVar

import pytest

from memxfer.testing import ProviderConformance


class ZepConformance(ProviderConformance):
    """A fresh emulator; the suite's records are put in past the provider, as Zep would hold them."""

    unit: ClassVar[str]

    @pytest.fixture
    def provider_factory(self, emulated):
        return lambda: emulated.provider(unit=self.unit)

    @pytest.fixture
    def refused_provider(self, emulated):
        return emulated.provider(api_key="wrong", unit=self.unit)

    @pytest.fixture
    def unreachable_provider(self, emulated, free_port):
        return emulated.provider(base_url=f"http://127.0.0.1:{free_port}", unit=self.unit)

    @pytest.fixture
    def seed(self, emulated):
        async def put(records):
            users = {}
            for record in records:
                owner = users.get(record.scope.user) or emulated.user(user_id=record.scope.user)
                users[record.scope.user] = owner
                self.put_one(emulated, record, *owner)

        return put

    def put_one(self, zep, record, user, graph):
        raise NotImplementedError


class TestFacts(ZepConformance):
    unit = "facts"

    def put_one(self, zep, record, user, graph):
        zep.put("edge", graph_uuid=graph, fact=record.content)


class TestEpisodes(ZepConformance):
    unit = "episodes"

    def put_one(self, zep, record, user, graph):
        zep.put("episode", graph_uuid=graph, content=record.content, source="text")


class TestMessages(ZepConformance):
    unit = "messages"

    def put_one(self, zep, record, user, graph):
        thread = getattr(self, "_threads", {}).get(user) or zep.put("thread", user_uuid=user)
        self._threads = {**getattr(self, "_threads", {}), user: thread}
        zep.put("message", thread_uuid=thread, role="user", content=record.content)


class TestSummaries(ZepConformance):
    unit = "summaries"

    def put_one(self, zep, record, user, graph):
        zep.put("node", graph_uuid=graph, summary=record.content)
