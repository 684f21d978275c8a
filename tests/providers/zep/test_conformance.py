"""The conformance suite over the emulator: as a source by unit, as a target by form."""

import time
from datetime import UTC, datetime
from typing import ClassVar

import msgspec
import pytest

from memxfer.testing import ProviderConformance, StoredDocument


class ZepSuite(ProviderConformance):
    """What holds for both directions."""

    @pytest.mark.xfail(reason="get is for apps alone: the ids of a move name no graph, and Zep needs it")
    @pytest.mark.anyio
    async def test_get_finds_what_the_listing_shows(self, provider_factory, seed):
        await super().test_get_finds_what_the_listing_shows(provider_factory, seed)


class ZepConformance(ZepSuite):
    """A fresh emulator; the suite's records are put in past the provider, as Zep would hold them."""

    unit: ClassVar[str]

    @pytest.fixture
    def provider_factory(self, emulated):
        return lambda: emulated.reading_provider(unit=self.unit)

    @pytest.fixture
    def refused_provider(self, emulated):
        return emulated.reading_provider(api_key="wrong", unit=self.unit)

    @pytest.fixture
    def unreachable_provider(self, emulated, free_port):
        return emulated.reading_provider(base_url=f"http://127.0.0.1:{free_port}", unit=self.unit)

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


class ZepTargetConformance(ZepSuite):
    """A fresh emulator that forgets requests at once: what is claimed must hold without its memory.

    Limits are far above those of Zep, since the suite sends long texts too.
    """

    connection: ClassVar[dict]
    stored_kind: ClassVar[str]
    sources: ClassVar[tuple] = ()

    @pytest.fixture(autouse=True)
    def _set_up(self, emulated):
        emulated.clock.now = time.time()
        emulated.configure(idempotency_seconds=0, fact_chars=100_000, episode_chars=100_000)

    @pytest.fixture
    def provider_factory(self, emulated):
        return lambda **settings: emulated.staged_provider(**{**self.connection, **settings})

    @pytest.fixture
    def refused_provider(self, provider_factory):
        return provider_factory(api_key="wrong")

    @pytest.fixture
    def unreachable_provider(self, provider_factory, free_port):
        return provider_factory(base_url=f"http://127.0.0.1:{free_port}")

    @pytest.fixture
    def stored_documents(self, emulated):
        field = "fact" if self.stored_kind == "edge" else "content"

        async def truth():
            rows = emulated.truth(self.stored_kind)
            return [StoredDocument(row[field]) for row in rows if row.get("source") != "fact_triple"]

        return truth

    def stored_text(self, text):
        return text.replace("\0", "\u2400")


class TestWrittenFacts(ZepTargetConformance):
    connection: ClassVar[dict] = {"write": "fact", "unit": "facts", "fact_chars": 100_000}
    stored_kind = "edge"

    def bad_document(self, document):
        body = msgspec.json.decode(document.body)
        body["edge"]["fact_name"] = "not a name"
        return msgspec.structs.replace(document, body=msgspec.json.encode(body))


class TestWrittenFactsInOneGraph(TestWrittenFacts):
    connection: ClassVar[dict] = {
        **TestWrittenFacts.connection,
        "container": "graph-per-job",
        "widening": "allow",
    }


class TestWrittenEpisodes(ZepTargetConformance):
    connection: ClassVar[dict] = {"write": "episode", "unit": "episodes", "episode_chars": 100_000}
    stored_kind = "episode"

    def record(self, index):
        # Zep wants a date, or a decision to go without one.
        return msgspec.structs.replace(super().record(index), created_at=datetime(2025, 1, 31, tzinfo=UTC))

    def bad_document(self, document):
        body = msgspec.json.decode(document.body)
        body["episode"]["reference_time"] = "yesterday"
        return msgspec.structs.replace(document, body=msgspec.json.encode(body))


class TestWrittenAsFits(ZepTargetConformance):
    connection: ClassVar[dict] = {"fact_chars": 100_000}
    stored_kind = "edge"
