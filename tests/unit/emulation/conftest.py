"""A backend small enough to see the shared half of the emulators work."""

from __future__ import annotations

import time

import pytest

from memxfer.emulation import Answer, Emulator, EmulatorSettings, Endpoint, RefusedError, serve_in_thread


class NotesSettings(EmulatorSettings):
    greeting: str = "hello"


class NotesEmulator(Emulator[NotesSettings]):
    """Stores the body of every POST; a row fails when it says so."""

    name = "notes"
    settings_model = NotesSettings
    row_id_fields = ("id",)

    def __init__(self, settings=None, **injected):
        self.stored = []
        super().__init__(settings, **injected)

    def endpoints(self):
        return [
            Endpoint("GET", "/open", lambda call: Answer(200, {"say": self.settings.greeting}), is_open=True),
            Endpoint("POST", "/notes", self._add),
            Endpoint("GET", "/notes/{number}", self._get),
            Endpoint("DELETE", "/notes/{number}", lambda call: Answer(204)),
        ]

    def authenticate(self, call):
        if call.headers.get("authorization") != "Bearer secret":
            raise RefusedError(401, "no")
        return "secret", "me"

    def _add(self, call):
        self.stored.append(call.body)
        rows = [{"id": 1, "status": "ok"}, {"id": 2, "status": "failed"}, {"id": 3, "status": "ok"}]
        return Answer(200, {"by": call.identity, "results": rows})

    def _get(self, call):
        return Answer(200, {"number": call.params["number"], "query": dict(call.query)})

    def truth(self, offset, limit, *, brief):
        return {"documents": [one.decode() for one in self.stored[offset : offset + limit]]}

    def summary(self):
        return {"documents": len(self.stored)}

    def clear(self):
        self.stored.clear()

    def banner(self):
        return "key: secret"


class Hands:
    """The test's hold on time: what the clock says and which waits were asked for."""

    def __init__(self):
        self.now = 1_700_000_000.0
        self.waits = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.waits.append(seconds)


@pytest.fixture(scope="module")
def hands():
    return Hands()


@pytest.fixture(scope="module")
def shared_server(hands):
    with serve_in_thread(NotesEmulator(clock=hands.clock, sleep=hands.sleep)) as server:
        yield server


@pytest.fixture
def server(shared_server, hands):
    shared_server.admin.configure(**NotesSettings().model_dump())
    shared_server.admin.reset()
    hands.waits.clear()
    return shared_server


@pytest.fixture
def eventually():
    """Poll for what another thread does, two seconds at most."""

    def wait_for(is_true):
        end = time.monotonic() + 2
        while not is_true():
            assert time.monotonic() < end, "it never came true"

    return wait_for
