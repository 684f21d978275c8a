"""A Synap emulator on a socket, reset before each test, and a client that may talk to it."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from memxfer.emulation import serve_in_thread
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator, SynapSettings

BATCH = "/api/v1/memories/batch"
CREATE = "/api/v1/memories/create"
OWNER = {"user_id": "u1", "customer_id": "c1"}


class Clock:
    """Time that a test sets by hand."""

    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def shared_server(clock):
    with contextlib.closing(SynapEmulator(clock=clock)) as emulator, serve_in_thread(emulator) as server:
        yield server


@pytest.fixture
def server(shared_server):
    shared_server.admin.configure(**SynapSettings().model_dump(mode="json"))
    shared_server.admin.reset()
    return shared_server


@pytest.fixture
def api(server):
    headers = {"authorization": f"Bearer {EMULATOR_API_KEY}"}
    with httpx.Client(base_url=server.base_url, headers=headers, trust_env=False) as client:
        yield client


def doc(document_id="d1", text="The user likes tea. The user went home.", **fields):
    return {"document": text, "document_type": "document", "document_id": document_id, **OWNER, **fields}


def send(api, *documents, **fields):
    answer = api.post(BATCH, json={"documents": list(documents), **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(api, row):
    return api.get(f"/api/v1/memories/status/{row['ingestion_id']}").json()


def stored(server):
    return {one["document_id"]: one for one in server.admin.documents()}
