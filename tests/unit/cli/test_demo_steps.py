import io
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from memxfer.cli.demo.children import Commands, EmulatorAddress
from memxfer.cli.demo.comparing import Store, compare_stores, compare_truth
from memxfer.cli.demo.failing import DemoError
from memxfer.cli.demo.stage import Narrator, demo_folder, write_config
from memxfer.config import load_config
from memxfer.errors import ConfigError
from memxfer.ids import DEFAULT_TEMPLATE, KeyTemplate
from memxfer.models import MemoryRecord, Scope, Version

AT = datetime(2025, 1, 31, 12, tzinfo=UTC)
KEYS = KeyTemplate(DEFAULT_TEMPLATE, provider="mem0-oss", namespace="app")


def record(record_id="a", **values):
    facts = {
        "content": "likes tea",
        "scope": Scope(user="alice"),
        "metadata": {"tags": ["x"]},
        "created_at": AT,
    }
    return MemoryRecord(id=record_id, **{**facts, **values})


def store(*records):
    return Store({one.id: one for one in records}, KEYS)


def document(record_id="a", *, times=1, user="alice", **sent):
    body = {
        "document": "likes tea",
        "document_created_at": "2025-01-31T13:00:00+01:00",
        "metadata": {"tags": ["x"], "source": "migration"},
        **sent,
    }
    key = f"mx:mem0-oss:app:{record_id}"
    return {"document_id": key, "times_stored": times, "scope": {"user_id": user}, "document": body}


def test_a_document_that_says_what_the_record_says_matches():
    found = compare_truth(store(record()), [document()])
    assert (found.compared, found.matched, found.problems) == (1, 1, {})


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (document(times=2), "stored 2 times"),
        (document(document="likes coffee"), "other content"),
        (document(document_created_at="2025-01-31T12:00:01Z"), "other created_at"),
        (document(document_created_at=None), "other created_at"),
        (document(metadata={"tags": ["y"]}), "other metadata"),
        (document(metadata={}), "other metadata"),
        (document(user=None), "other user"),
    ],
)
def test_every_difference_is_found_and_named(wrong, problem):
    found = compare_truth(store(record()), [wrong])
    assert (found.matched, found.problems) == (0, {"mx:mem0-oss:app:a": problem})


def test_what_is_missing_and_what_nobody_sent_is_found():
    found = compare_truth(store(record("a")), [document("b")])
    assert found.problems == {"mx:mem0-oss:app:a": "it is not there", "mx:mem0-oss:app:b": "nobody sent it"}
    assert found.matched == 0


def test_two_stores_are_compared_in_every_field():
    source = store(record("a"), record("b"), record("c"), record("d"))
    copy = store(
        record("a", extensions={"memxfer": {"key": "mx:a"}}),
        record("b", versions=(Version(content="old"),), pinned=True),
        record("c"),
        record("e"),
    )
    found = compare_stores(source, copy)
    assert (found.compared, found.matched) == (4, 2)
    assert found.problems["b"] == "other pinned, versions"
    assert found.problems["d"] == "it is not there"
    assert found.problems["e"] == "nobody wrote it"


def test_only_the_mark_of_memxfer_is_overlooked():
    found = compare_stores(store(record()), store(record(extensions={"mem0": {"x": 1}})))
    assert found.problems == {"a": "other extensions"}


def test_a_temporary_folder_is_gone_afterwards_also_after_an_error():
    def fail_in_it():
        with demo_folder(None) as folder:
            folders.append(folder)
            (folder / "x").write_text("x")
            raise RuntimeError

    folders = []
    with pytest.raises(RuntimeError):
        fail_in_it()
    assert not folders[0].exists()


def test_a_folder_to_keep_stays_and_must_be_empty(tmp_path):
    with demo_folder(tmp_path / "new") as folder:
        (folder / "x").write_text("x")
    assert (tmp_path / "new" / "x").exists()
    with pytest.raises(ConfigError, match="not an empty folder"), demo_folder(tmp_path / "new"):
        pass


def test_the_configuration_names_two_stores_that_are_not_the_same(tmp_path):
    (tmp_path / "old").mkdir()
    sample = tmp_path / "old" / "mem0.json"
    sample.write_text('{"path": "qdrant"}')
    secrets = write_config(tmp_path, sample, EmulatorAddress("http://127.0.0.1:1", "k"))
    config = load_config(tmp_path / "memxfer.toml")
    assert set(config.connections) == {"old", "new", "copy"}
    assert config.connection("new").settings["api_key"] == "env:SYNAP_API_KEY"
    assert secrets == {"SYNAP_API_KEY": "k"}
    assert config.connection("old").open().config.config_file == sample
    assert config.connection("copy").open().config.config_file == tmp_path / "copy" / "mem0.json"
    assert (tmp_path / "copy" / "mem0.json").read_text() == '{"path": "qdrant"}'


def test_steps_are_numbered_timed_and_harmless():
    out = io.StringIO()
    moments = iter((10.0, 12.5))
    console = Console(file=out, width=100, markup=False, highlight=False, color_system=None)
    narrator = Narrator(console, 8, clock=lambda: next(moments))
    with narrator.step("First"):
        narrator.say("user[/red]x\x1b")
    assert out.getvalue().splitlines()[:3] == ["1/8  First", "     user[/red]x\\x1b", "     (2.5 s)"]


class Standing(Commands):
    """Runs Python instead of memxfer."""

    def _line(self, *arguments):
        return [sys.executable, "-c", arguments[0]]


@pytest.fixture
def commands(tmp_path):
    return Standing(tmp_path, {"DEMO_WORD": "set"})


def test_a_command_gives_its_json_and_sees_the_environment(commands):
    assert commands.result("import os; print('{\"word\": \"%s\"}' % os.environ['DEMO_WORD'])") == {
        "word": "set"
    }


def test_a_command_that_fails_ends_the_demo(commands):
    with pytest.raises(DemoError, match=r"exit code 3\nwhy it failed"):
        commands.result("import sys; print('why it failed', file=sys.stderr); raise SystemExit(3)")


def test_a_job_is_killed_when_it_is_time_and_not_before(commands, tmp_path):
    started = tmp_path / "started"
    looks = []

    def is_time():
        looks.append(started.exists())
        return looks[-1]

    commands.kill_when(
        is_time, f"import pathlib, signal; pathlib.Path({str(started)!r}).touch(); signal.pause()"
    )
    assert looks[-1] is True
    assert looks.count(True) == 1


def test_a_job_that_is_over_too_early_is_not_called_killed(commands):
    with pytest.raises(DemoError, match="before it could be killed"):
        commands.kill_when(lambda: False, "pass")


def test_an_emulator_that_does_not_start_is_said_to(commands):
    with pytest.raises(DemoError, match="did not start"), commands.emulator("pass"):
        pass


def test_the_emulator_ends_with_its_block(tmp_path):
    with Commands(tmp_path, {}).emulator("synap") as address:
        from memxfer.cli.demo.truth import Truth

        with Truth(address.base_url) as truth:
            assert (truth.distinct(), list(truth.documents())) == (0, [])
            truth.answer_slowly(0.001)
    import httpx

    with pytest.raises(httpx.ConnectError):
        httpx.get(address.base_url, trust_env=False)
