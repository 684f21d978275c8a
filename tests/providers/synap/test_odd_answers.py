"""Answers that no Synap gives, from a bare socket, on both transports: never a crash, a hang or a success."""

import asyncio
import json
import math

import pytest

from memxfer import migration
from memxfer.spi import (
    FatalError,
    IngestState,
    NotReadyError,
    ProviderError,
    RateLimitedError,
    Role,
    Timeouts,
)
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_synap import SynapConfig, SynapProvider

pytestmark = pytest.mark.anyio

WHOAMI = {"client_id": "c1", "instance_id": "inst_0123456789abcdef", "user_context_isolation": "strict"}


class Bare:
    """Answers with bytes: `answers[path]` is what it says, or makes it of the request's JSON."""

    def __init__(self):
        self.answers = {}
        self.asked = []

    def say(self, path, body, *, status=200, **headers):
        self.answers[path] = (status, headers, body)

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *fields = head.split("\r\n")
                sizes = [one.partition(":")[2] for one in fields if one.lower().startswith("content-length:")]
                request = await reader.readexactly(int(sizes[0]) if sizes else 0)
                path = line.split(" ")[1]
                self.asked.append(path)
                writer.write(self._answer(path, request))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, path, request):
        name = next((name for name in self.answers if path.startswith(name)), "")
        status, headers, body = self.answers.get(name, (200, {}, {}))
        if callable(body):
            body = body(json.loads(request or b"null"))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + data


@pytest.fixture
async def bare():
    """Give a server that takes all and says nothing odd yet."""
    bare = Bare()
    server = await asyncio.start_server(bare.serve, "127.0.0.1", 0)
    bare.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    bare.say("/api/v1/auth/whoami", WHOAMI)
    bare.say("/v1/context/", {"context": {"items": []}})
    bare.say("/api/v1/memories/batch", lambda sent: {"results": rows(sent["documents"])})
    bare.say("/api/v1/memories/status/", {"status": "completed", "memory_ids": ["m1"]})
    yield bare
    server.close()


def rows(documents, **fields):
    return [
        {"document_id": one["document_id"], "ingestion_id": f"h-{one['document_id']}", "status": "queued"}
        | fields
        for one in documents
    ]


@pytest.fixture
async def provider(bare, transport):
    provider = SynapProvider(
        SynapConfig(
            provider="synap",
            api_key="a-made-up-key-0123456789",
            base_url=bare.url,
            transport=transport,
            customer_id="acme",
            timeouts=Timeouts(connect=2, read=5, write=5),
            retry={"attempts": 2, "backoff": 0.001},
        )
    )
    yield provider
    await provider.aclose()


@pytest.mark.parametrize("transport", ["http"])  # the preflight of both
async def test_what_names_no_instance_of_synap_s_is_not_synap(bare, provider):
    echoed = "Bearer a-made-up-key-0123456789"
    for instance in (echoed, "inst_", "inst_0123456789abcdef\r\nA: b", "x" * 10_000, 7, None, ""):
        bare.say("/api/v1/auth/whoami", {**WHOAMI, "instance_id": instance})
        with pytest.raises(FatalError) as caught:
            await provider.connect(Role.TARGET)
        assert caught.value.code == "not_synap"
        assert "a-made-up-key" not in str(caught.value)


@pytest.mark.parametrize("client", ["a\r\nX-Injected: yes", "a\x00b", "c " * 3, "x" * 5_000, ["c1"], None])
async def test_an_account_id_of_no_form_is_left_out(bare, provider, client, transport):
    bare.say("/api/v1/auth/whoami", {**WHOAMI, "client_id": client})
    if transport == "sdk" and isinstance(client, list):  # SDK 0.6.9 makes a path of it
        with pytest.raises(FatalError, match="TypeError"):
            await provider.connect(Role.TARGET)
        return
    info = await provider.connect(Role.TARGET)
    assert info.details["client"] == ""


@pytest.mark.parametrize("transport", ["sdk"])
async def test_an_sdk_whose_server_never_finishes_does_not_hold_up_the_start(bare, provider):
    answers = iter([WHOAMI])
    bare.say("/api/v1/auth/whoami", lambda _: next(answers, None) or b"")

    def hang(path, request):
        answer = Bare._answer(bare, path, request)
        if path.endswith("/whoami") and bare.asked.count(path) > 1:
            return answer.replace(b"content-length: 0", b"content-length: 9")
        return answer

    bare._answer = hang
    provider.config = provider.config.model_copy(
        update={"timeouts": Timeouts(connect=0.2, read=0.2, write=0.2)}
    )
    async with asyncio.timeout(5):
        await provider.connect(Role.TARGET)


WAITS = [
    *("-5", "0", "1.5", "nan", "1e3000", "0x10", "1_0", "", " 2 ", "soon", "9" * 400, "\xb2"),
    *("Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +9900"),
]


async def test_every_wait_that_a_429_names_is_read_or_left_and_the_next_call_goes_out(
    bare, provider, documents
):
    await provider.connect(Role.TARGET)
    taken = bare.answers["/api/v1/memories/batch"]
    async with asyncio.timeout(10):
        for value in WAITS:
            bare.say("/api/v1/memories/batch", {}, status=429, retry_after=value)
            with pytest.raises(RateLimitedError) as caught:
                await provider.write(documents(provider))
            wait = caught.value.retry_after
            assert wait is None or (math.isfinite(wait) and wait >= 0), value
            bare.answers["/api/v1/memories/batch"] = taken
            assert [one.outcome for one in await provider.write(documents(provider))] == ["pending"] * 3


@pytest.mark.parametrize("hint", [b"0.5", b'"soon"', b"[]"])
async def test_every_hint_of_an_instance_that_is_not_ready_is_read_or_left(bare, provider, documents, hint):
    await provider.connect(Role.TARGET)
    body = b'{"error": "instance_not_ready", "retry_after_seconds": %b}' % hint
    bare.say("/api/v1/memories/batch", body, status=409)
    async with asyncio.timeout(5):
        with pytest.raises(NotReadyError):
            await provider.write(documents(provider))


ODD_ROWS = {
    "fewer": lambda sent: rows(sent)[:-1],
    "others": lambda sent: rows([{"document_id": f"x{n}"} for n in range(len(sent))]),
    "numbers": lambda sent: [{"document_id": n, "ingestion_id": n, "status": "queued"} for n in range(9)],
    "no handle": lambda sent: rows(sent, ingestion_id=None),
    "empty handle": lambda sent: rows(sent, ingestion_id=""),
    "one handle": lambda sent: rows(sent, ingestion_id="same"),
    "texts": lambda sent: ["queued"] * len(sent),
    "nested": lambda sent: [rows(sent)],
    "none": lambda sent: [],
    "null": lambda sent: None,
    "object": lambda sent: {"results": rows(sent)},
    "failed without a word": lambda sent: rows(sent, status="FAILED"),
}


@pytest.mark.parametrize("kind", ODD_ROWS)
async def test_nothing_counts_as_stored_without_a_row_of_its_own(bare, provider, record, tmp_path, kind):
    MemoryStore.forget("odd")
    MemoryStore.named("odd").seed([record(n) for n in range(1, 6)])
    bare.say("/api/v1/memories/batch", lambda sent: {"results": ODD_ROWS[kind](sent["documents"])})
    result = await migration.migrate(
        MemoryReferenceProvider(MemoryConfig(provider="memory", store="odd")),
        provider,
        state_dir=tmp_path,
        job="j",
        options=migration.Options(accept_loss=("all",)),
    )
    MemoryStore.forget("odd")
    assert result.status is not migration.JobStatus.COMPLETED
    assert result.counts.stored == 0
    counts = result.counts
    assert counts.listed == 5 == counts.accepted + counts.uncertain + counts.failed
    assert counts.accepted == (4 if kind == "fewer" else 0)


ODD_STATUSES = [
    *(b"<html>", b"[]", b"null", b'"completed"', b'{"status": 1}', b'{"status": ""}', b"{", b"\xff"),
    b"[" * 9_999,
]


async def test_a_status_that_cannot_be_read_is_no_status(bare, provider):
    await provider.connect(Role.TARGET)
    for body in ODD_STATUSES:
        bare.say("/api/v1/memories/status/", body)
        with pytest.raises(ProviderError) as caught:
            await provider.ingest_status("00000000-0000-4000-8000-000000000000")
        assert caught.value.code == "unreadable_answer", body


async def test_more_rows_than_documents_and_another_order_change_nothing(bare, provider, documents):
    def more(sent):
        own = rows(sent["documents"])
        return {"results": [*reversed(own), *own, *rows([{"document_id": "x"}]), {"status": "failed"}]}

    await provider.connect(Role.TARGET)
    bare.say("/api/v1/memories/batch", more)
    receipts = await provider.write(documents(provider))
    assert [one.ingestion_id for one in receipts] == ["h-mx:1", "h-mx:2", "h-mx:3"]
    assert (await provider.ingest_status(receipts[0].ingestion_id)).state is IngestState.STORED
