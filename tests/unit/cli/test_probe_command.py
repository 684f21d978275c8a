import json

import pytest

from memxfer.cli import exits
from memxfer.migration import Claim, ClaimVerdict, Leftover, ProbeReport, ProbeSize, ProbeStatus
from memxfer_memory import MemoryReferenceProvider, MemoryStore

KEYS = ["connection", "provider", "namespace", "status", "probed_at", "sdk", "owner", "documents"]


@pytest.fixture(autouse=True)
def empty_store():
    yield
    MemoryStore.forget("default")


@pytest.fixture
def report():
    def make(**fields):
        claim = Claim(
            path="writing.client_key", declared="upsert", found="append", verdict=ClaimVerdict.DOWNGRADED
        )
        defaults = {
            "connection": "new",
            "provider": "memory",
            "namespace": "default",
            "status": ProbeStatus.COMPLETED,
            "probed_at": "2026-11-21T10:00:00Z",
            "owner": "memxfer-probe-1",
            "documents": 3,
            "claims": (claim,),
        }
        return ProbeReport(**{**defaults, **fields})

    return make


def test_a_probe_writes_looks_removes_and_keeps_what_it_saw(cli, working_folder):
    answer = cli("providers", "check", "new", "--probe", "--yes")
    assert answer.exit_code == 0
    assert "5 documents written for memxfer-probe-" in answer.stdout
    assert "and removed again" in answer.stdout
    assert "writing.client_key" in answer.stdout
    assert list(MemoryStore.named("default").records) == []
    assert (working_folder / ".memxfer/connections/new.json").is_file()


def test_a_check_without_probe_writes_nothing_and_shows_what_is_known(cli):
    cli("providers", "check", "new", "--probe", "--yes")
    writes = dict(MemoryStore.named("default").attempts)
    answer = cli("providers", "check", "new")
    assert "Probed on 20" in answer.stdout
    assert "writing.client_key" in answer.stdout
    assert MemoryStore.named("default").attempts == writes
    known = json.loads(cli("providers", "check", "new", "--json").stdout)["evidence"]
    assert known["connection"] == "new"
    assert known["claims"][0]["path"] == "writing.client_key"


def test_the_state_folder_is_the_one_that_was_named(cli, tmp_path):
    cli("providers", "check", "new", "--probe", "-y", "--state-dir", str(tmp_path / "there"))
    assert (tmp_path / "there/connections/new.json").is_file()
    assert "Probed on" not in cli("providers", "check", "new").stdout
    assert "Probed on" in cli("providers", "check", "new", "--state-dir", str(tmp_path / "there")).stdout


def test_json_is_one_object_with_the_keys_of_the_contract(cli):
    data = json.loads(cli("providers", "check", "new", "--probe", "--yes", "--json").stdout)
    assert list(data) == [*KEYS, "claims", "leftovers", "evidence_file"]
    assert data["status"] == "completed"
    assert set(data["claims"][0]) == {"path", "declared", "found", "verdict", "note"}


def test_without_a_terminal_it_has_to_be_agreed_to(cli):
    answer = cli("providers", "check", "new", "--probe")
    assert answer.exit_code == exits.USAGE
    assert "up to 5 small documents" in answer.stderr
    assert "--yes" in answer.stderr
    assert MemoryStore.named("default").attempts == {}


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize(("reply", "code"), [("y\n", 0), ("n\n", exits.INTERRUPTED)])
def test_a_person_is_asked(cli, reply, code):
    answer = cli("providers", "check", "new", "--probe", input=reply)
    assert answer.exit_code == code
    assert "writes up to 5 small documents to new and removes them again" in answer.stderr
    assert bool(MemoryStore.named("default").attempts) == (code == 0)


@pytest.mark.usefixtures("at_a_terminal")
def test_a_person_is_told_when_nothing_can_be_removed(cli, verbs):
    verbs(probe_size=ProbeSize(3, removes=False))
    assert "CANNOT REMOVE" in cli("providers", "check", "new", "--probe", input="n\n").stderr


def test_a_probe_as_a_source_is_wrong_usage(cli):
    answer = cli("providers", "check", "new", "--probe", "--yes", "--as", "source")
    assert answer.exit_code == exits.USAGE
    assert "--as source" in answer.stderr


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({"leftovers": (Leftover(key="k", reason="refused"),)}, 1),
        ({"status": ProbeStatus.FAILED, "cause": "auth"}, 4),
        ({"status": ProbeStatus.FAILED, "cause": "unavailable"}, 4),
        ({"status": ProbeStatus.FAILED, "cause": "bug"}, 1),
        ({"status": ProbeStatus.INTERRUPTED, "cause": "interrupted"}, 130),
        (
            {
                "status": ProbeStatus.INTERRUPTED,
                "cause": "interrupted",
                "leftovers": (Leftover(key="k", reason="refused"),),
            },
            130,
        ),
    ],
)
def test_a_probe_ends_with_the_first_code_that_applies(report, fields, code):
    assert exits.code_of_probe(report(**fields)) == code


def test_what_is_left_is_an_exit_code_of_1_and_said(cli, monkeypatch):
    async def delete(self, target_ids):
        return len(target_ids)

    monkeypatch.setattr(MemoryReferenceProvider, "delete", delete)
    answer = cli("providers", "check", "new", "--probe", "--yes")
    assert answer.exit_code == 1
    assert "Not removed; look after these yourself:" in answer.stdout
    assert "mx:memxfer:probe-" in answer.stdout
    assert "not removed: mx:memxfer:probe-" in answer.stderr


def test_damaged_evidence_is_wrong_configuration(cli, working_folder):
    cli("providers", "check", "new", "--probe", "--yes")
    (working_folder / ".memxfer/connections/new.json").write_text("{")
    answer = cli("providers", "check", "new")
    assert answer.exit_code == exits.USAGE
    assert "connections/new.json" in answer.stderr
