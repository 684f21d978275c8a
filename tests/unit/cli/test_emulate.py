import json
import os
import signal
import socket
import subprocess
import sys
import tomllib

import httpx
import pytest

pytest.importorskip("starlette")


@pytest.fixture
def emulator(tmp_path):
    """Start `memxfer emulate synap` with more words; it has ended when the test has."""
    running = []

    def start(*words):
        line = [sys.executable, "-m", "memxfer.cli", "emulate", "synap", "--port", "0", *words]
        child = subprocess.Popen(
            line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


def read_until_blank(stream):
    return "".join(iter(stream.readline, "\n"))


def test_it_tells_address_key_and_a_block_to_paste(emulator):
    child = emulator()
    line = read_until_blank(child.stdout)
    block = tomllib.loads(read_until_blank(child.stdout))["connections"]["new"]
    assert block["base_url"] in line
    whoami = httpx.get(
        f"{block['base_url']}/api/v1/auth/whoami",
        headers={"Authorization": f"Bearer {block['api_key']}"},
        trust_env=False,
    )
    assert whoami.status_code == 200
    assert block["provider"] == "synap"


def test_it_behaves_as_asked(emulator):
    child = emulator(
        "--json", "--latency", "0.01", "--rate", "90", "--duplicates", "echo", "--levels", "merged"
    )
    address = json.loads(child.stdout.readline())["base_url"]
    settings = httpx.get(f"{address}/_emulator/config", trust_env=False).json()
    assert settings["latency_seconds"] == 0.01
    assert settings["rate_limit"]["per_minute"] == 90
    assert settings["duplicate_policy"] == "echo"
    assert settings["fetch_levels"] == "merged"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_asked_without_complaint(emulator, number):
    child = emulator("--json")
    child.stdout.readline()
    os.kill(child.pid, number)
    _, err = child.communicate(timeout=20)
    assert err == ""


def test_what_it_stores_survives_in_its_file(emulator, tmp_path):
    child = emulator("--json", "--state", "kept.db")
    told = json.loads(child.stdout.readline())
    body = {"document": "likes tea", "document_id": "d1", "user_id": "u", "customer_id": "c"}
    headers = {"Authorization": f"Bearer {told['api_key']}"}
    httpx.post(f"{told['base_url']}/api/v1/memories/create", json=body, headers=headers, trust_env=False)
    child.terminate()
    child.wait(20)
    again = json.loads(emulator("--json", "--state", "kept.db").stdout.readline())["base_url"]
    truth = httpx.get(f"{again}/_emulator/truth", trust_env=False).json()
    assert [entry["document_id"] for entry in truth["documents"]] == ["d1"]


def test_a_backend_without_an_emulator_is_refused_with_those_that_have_one(cli):
    answer = cli("emulate", "nothing")
    assert answer.exit_code == 2
    assert "synap" in answer.stderr


def test_a_policy_that_it_does_not_know_is_refused(cli):
    answer = cli("emulate", "synap", "--duplicates", "sometimes")
    assert answer.exit_code == 2
    assert "duplicate_policy" in answer.stderr


def test_levels_that_an_emulator_does_not_know_or_have_are_refused(cli):
    for provider, mode, said in (("synap", "some", "fetch_levels"), ("mem0", "merged", "--levels")):
        answer = cli("emulate", provider, "--levels", mode)
        assert answer.exit_code == 2
        assert said in answer.stderr


def test_a_port_that_is_taken_is_named_with_a_way_on(cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = cli("emulate", "synap", "--port", str(taken.getsockname()[1]))
    assert answer.exit_code == 2
    assert "--port" in answer.stderr
