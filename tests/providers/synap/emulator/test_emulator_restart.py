"""kill -9 on a running emulator loses nothing that it acknowledged."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import httpx
import pytest

from memxfer.emulation import AdminClient
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator

PROGRAM = """
import sys
from pathlib import Path
from memxfer.emulation import run
from memxfer_synap.emulator import SynapEmulator
run(SynapEmulator(state_path=Path(sys.argv[1])), port=0)
"""


@pytest.fixture
def start(tmp_path):
    """Start the emulator as a program on one state file; return its process and address."""
    with contextlib.ExitStack() as stack:

        def started():
            command = [sys.executable, "-c", PROGRAM, str(tmp_path / "synap.sqlite")]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            line = process.stdout.readline()
            assert line.startswith("synap emulator on http://127.0.0.1:")
            assert EMULATOR_API_KEY in line
            return process, line.split()[3]

        yield started


def test_what_was_acknowledged_survives_kill_9(start):
    headers = {"authorization": f"Bearer {EMULATOR_API_KEY}"}
    documents = [{"document": f"Fact {n}.", "document_id": f"d{n}", "customer_id": "c"} for n in range(100)]
    process, base_url = start()
    answer = httpx.post(f"{base_url}/api/v1/memories/batch", json={"documents": documents}, headers=headers)
    process.kill()
    process.wait(10)

    process, base_url = start()
    row = answer.json()["results"][42]
    job = httpx.get(f"{base_url}/api/v1/memories/status/{row['ingestion_id']}", headers=headers).json()
    assert (job["document_id"], job["status"]) == ("d42", "completed")
    again = httpx.post(
        f"{base_url}/api/v1/memories/batch", json={"documents": documents[:1]}, headers=headers
    )
    assert again.json()["succeeded"] == 1
    with contextlib.closing(AdminClient(base_url)) as admin:
        summary = admin.summary()
    assert (summary["documents"], summary["stored_twice"], summary["received"]) == (100, 0, 101)
    process.terminate()
    assert process.wait(10) is not None


def test_an_emulator_opens_the_state_of_another(tmp_path):
    path = tmp_path / "synap.sqlite"
    with contextlib.closing(SynapEmulator(state_path=path)) as first:
        salt = first.store.ids.salt
    with contextlib.closing(SynapEmulator(state_path=path)) as second:
        assert second.store.ids.salt == salt
