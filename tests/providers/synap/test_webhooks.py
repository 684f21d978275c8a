"""Webhooks: what is taken for Synap's, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from memxfer.client import IngestState, MemoryClient
from memxfer.spi import Scope
from memxfer_synap.emulator import EMULATOR_API_KEY
from memxfer_synap.webhooks import WebhookApp, sign

SECRET = "whsec_of_a_test"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Clock:
    """Time that a test sets by hand."""

    def __init__(self):
        self.at = NOW

    def now(self):
        return self.at


@pytest.fixture
def transport():
    return "http"


def body_of(kind="ingestion.failed", event_id="evt_1", at=NOW, **data):
    event = {"type": kind, "event_id": event_id, "timestamp": at.isoformat(), "data": data}
    return json.dumps(event).encode()


# -- the application ----------------------------------------------------------------------------


class Hook:
    """A webhook application with a client that posts to it, and what it called back."""

    def __init__(self, folder):
        self.failed, self.warned = [], []
        self.clock = Clock()
        self.file = folder / "events.sqlite"
        self.apps = []
        self.app = self.start()

    def start(self, **options):
        defaults = {"on_failed": self.on_failed, "on_warning": self.warned.append, "clock": self.clock}
        self.app = WebhookApp(secret=SECRET, store=self.file, **{**defaults, **options})
        self.apps.append(self.app)
        return self.app

    async def on_failed(self, ingestion_id, problem):
        await asyncio.sleep(0)
        self.failed.append((ingestion_id, problem))

    async def post(self, body, *, method="POST", path="/", signature=None, app=None, headers=()):
        signed = [("x-synap-signature", sign(body, secret=SECRET) if signature is None else signature)]
        http = httpx.ASGITransport(app or self.app)
        async with httpx.AsyncClient(transport=http, base_url="http://hook") as client:
            return await client.request(method, path, content=body, headers=[*signed, *headers])


@pytest.fixture
def hook(tmp_path):
    hook = Hook(tmp_path)
    yield hook
    for app in hook.apps:
        app.close()


pytestmark = pytest.mark.anyio


async def test_a_failure_is_told_once_however_often_it_comes(hook):
    body = body_of(ingestion_id="i1")
    answers = await asyncio.gather(*(hook.post(body) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert [ingestion_id for ingestion_id, _ in hook.failed] == ["i1"]
    assert (await hook.post(body)).status_code == 200
    hook.app.close()
    hook.start()  # another process, later
    assert (await hook.post(body)).status_code == 200
    assert len(hook.failed) == 1


async def test_deliveries_out_of_order_are_told_as_they_come(hook):
    later, earlier = (
        body_of(event_id=f"evt_{n}", at=NOW + timedelta(seconds=n), ingestion_id=f"i{n}") for n in (2, 1)
    )
    assert [(await hook.post(body)).status_code for body in (later, earlier)] == [200, 200]
    assert [ingestion_id for ingestion_id, _ in hook.failed] == ["i2", "i1"]


async def test_an_event_comes_again_after_a_callback_failed(hook, caplog):
    async def fails(ingestion_id, problem):
        raise RuntimeError("secret memory")

    caplog.set_level(logging.DEBUG)
    hook.start(on_failed=fails)
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 500
    assert "RuntimeError" in caplog.text
    assert "secret memory" not in caplog.text
    hook.app.close()
    hook.start()
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 200
    assert len(hook.failed) == 1


async def test_the_last_redelivery_still_counts_though_its_time_may_be_the_first_one_s(hook):
    hook.clock.at += timedelta(hours=15)
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 200
    assert len(hook.failed) == 1


async def test_a_callback_that_hangs_is_given_up(hook):
    async def hangs(ingestion_id, problem):
        await asyncio.Event().wait()

    hook.start(on_failed=hangs, seconds=0.01)
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 500


@pytest.mark.parametrize("kind", ["credential.expiring", "retention.cleanup"])
async def test_warnings_are_passed_on_whole(hook, kind):
    assert (await hook.post(body_of(kind, days=3))).status_code == 200
    [event] = hook.warned
    assert (event.type, event.data) == (kind, {"days": 3})
    assert hook.app.kept() == []


async def test_what_nobody_is_called_for_is_kept_and_bounded(hook, tmp_path):
    await hook.post(body_of("config.applied", "evt_1", what=1))
    await hook.post(body_of("something.new", "evt_2"))
    await hook.post(body_of("ingestion.failed", "evt_3"))  # of no document
    assert hook.failed == []
    hook.start(on_failed=lambda ingestion_id, problem: False)
    await hook.post(body_of("ingestion.failed", "evt_4", ingestion_id="of somebody else"))
    hook.start(on_failed=None, on_warning=None)
    await hook.post(body_of("credential.expiring", "evt_5"))
    assert [event.event_id for event in hook.app.kept()] == [f"evt_{n}" for n in (1, 2, 3, 4, 5)]
    assert hook.app.kept()[0].data == {"what": 1}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"method": "GET"}, 405),
        ({"path": "/other"}, 404),
        ({"path": "/other", "method": "GET"}, 404),
        ({"signature": "sha256=" + "0" * 64}, 401),
        ({"signature": sign(body_of(), secret="another")}, 401),
        ({"headers": [("X-Synap-Signature", "sha256=" + "0" * 64)]}, 401),
    ],
)
async def test_what_does_not_belong_here_is_answered_and_forgotten(hook, change, status):
    assert (await hook.post(body_of(ingestion_id="i1"), **change)).status_code == status
    assert hook.failed == []
    assert not hook.file.exists()


@pytest.mark.parametrize(
    "body", [b"hello", body_of(at=NOW - timedelta(days=2)), body_of(at=NOW + timedelta(days=2))]
)
async def test_signed_nonsense_and_other_times_are_refused(hook, body):
    assert (await hook.post(body)).status_code == 400


async def test_a_large_body_is_refused_without_reading_it_all(hook):
    body = body_of(filler="x" * 1_000_000)
    assert (await hook.post(body)).status_code == 413
    chunks = 0

    async def receive():
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    await hook.app({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    assert (sent[0]["status"], chunks) == (413, 5)


async def test_a_sender_that_goes_away_is_not_answered(hook):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    await hook.app({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)


async def test_it_can_be_mounted_below_another_application(hook):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/hooks/synap", app=hook.app)])
    body = body_of(ingestion_id="i1")
    assert (await hook.post(body, path="/hooks/synap/", app=outer)).status_code == 200
    assert (await hook.post(body, path="/hooks/synap/more", app=outer)).status_code == 404
    assert len(hook.failed) == 1


async def test_a_server_opens_and_closes_it(hook):
    await hook.post(body_of(ingestion_id="i1"))
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await hook.app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError, match="websocket"):
        await hook.app({"type": "websocket"}, receive, send)


async def test_a_file_that_cannot_be_used_lets_the_event_come_again(hook):
    hook.file.mkdir()
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 503
    assert hook.failed == []
    hook.file.rmdir()
    assert (await hook.post(body_of(ingestion_id="i1"))).status_code == 200
    assert len(hook.failed) == 1


async def test_a_failed_document_of_an_app_is_marked_in_its_outbox(synap, tmp_path):
    settings = {
        "api_key": EMULATOR_API_KEY,
        "base_url": synap.url,
        "transport": "http",
        "customer_id": "acme",
    }
    async with MemoryClient({"synap": settings}, outbox=tmp_path / "outbox.sqlite") as client:
        handle = await client.ingest(text="[[fail]] tea", scope=Scope(user="ann"))
        assert await client.flush(10)
        ingestion_id = (await handle.progress()).ingestion_id
        hook = Hook(tmp_path)
        hook.start(on_failed=client.note_failed)
        assert (await hook.post(body_of(ingestion_id=ingestion_id))).status_code == 200
        await hook.post(body_of(event_id="evt_2", ingestion_id="nobody's"))
        progress = await handle.progress()
        assert (progress.state, progress.problem[:5]) == (IngestState.FAILED, "synap")
        assert [event.event_id for event in hook.app.kept()] == ["evt_2"]
        hook.app.close()
