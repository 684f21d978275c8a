"""What goes wrong at night: each message names the thing and the remedy, each exit code tells the truth."""

from __future__ import annotations

import socket
import subprocess
import time

import pytest

from memxfer.models import MemoryRecord, Scope

ACCEPT = ("--accept-loss", "all", "--yes")


def _nothing_was_written(stage) -> None:
    assert stage.truth()["received"] == 0
    assert not (stage.folder / ".memxfer").exists()


def test_an_unknown_connection_is_named_with_the_known_ones(stage) -> None:
    code, _, err = stage.run("migrate", "odl", "new", "--yes")

    assert code == 2
    assert "'odl'" in err
    assert "new, old" in err


def test_an_unknown_provider_is_named_with_the_known_ones(stage) -> None:
    path = stage.folder / "memxfer.toml"
    path.write_text(path.read_text().replace('"archive"', '"archvie"'))

    code, _, err = stage.run("migrate", "old", "new", "--yes")

    assert code == 2
    assert "'archvie'" in err
    assert "mem0-oss" in err


def test_an_unknown_field_is_named_with_its_file_and_block(stage) -> None:
    stage.configure(custmer_id="x")

    code, _, err = stage.run("providers", "check", "new")

    assert code == 2
    assert "memxfer.toml" in err
    assert "[connections.new]" in err
    assert "custmer_id" in err


def test_a_wrong_type_is_named_and_the_value_is_not_quoted(stage) -> None:
    stage.configure(max_rate="very-secret-looking")

    code, _, err = stage.run("providers", "check", "new")

    assert code == 2
    assert "max_rate" in err
    assert "very-secret" not in err


def test_a_missing_key_names_the_variable(stage) -> None:
    code, _, err = stage.run("providers", "check", "new", key="")

    assert code == 2
    assert "STAGE_KEY" in err


@pytest.mark.parametrize("transport", ["sdk", "http"])
def test_a_refused_key_stops_before_anything_is_read_or_written(stage, fill, transport) -> None:
    fill(stage.folder / "source", 5)
    stage.configure(transport=transport)

    code, _, err = stage.run("migrate", "old", "new", *ACCEPT, key="not-the-key")

    assert code == 4
    assert "new" in err
    assert "not-the-key" not in err
    _nothing_was_written(stage)


@pytest.mark.parametrize("transport", ["sdk", "http"])
def test_a_dead_target_is_told_within_seconds(stage, fill, transport) -> None:
    fill(stage.folder / "source", 5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stage.configure(base_url=f"http://127.0.0.1:{port}", transport=transport)

    began = time.monotonic()
    code, _, err = stage.run("providers", "check", "new")

    assert code == 4
    assert f"127.0.0.1:{port}" in err
    assert time.monotonic() - began < 10, "the interpreter's start included"


def test_a_target_that_is_being_set_up_says_how_long(stage, fill) -> None:
    fill(stage.folder / "source", 5)
    stage.server.admin.configure(not_ready_seconds=300)

    code, _, err = stage.run("migrate", "old", "new", *ACCEPT)

    assert code == 4
    assert "ready" in err
    _nothing_was_written(stage)


def test_wait_ready_waits_until_the_target_takes_documents(stage, fill) -> None:
    fill(stage.folder / "source", 5)
    stage.server.admin.configure(not_ready_seconds=2)

    code, result, err = stage.run("migrate", "old", "new", *ACCEPT, "--wait-ready")

    assert code == 0, err
    assert result["counts"]["stored"] == 5


def test_an_empty_source_is_an_error_unless_it_is_said_to_be_right(stage, fill) -> None:
    fill(stage.folder / "source", 0)

    code, _, err = stage.run("migrate", "old", "new", *ACCEPT)

    assert code == 2
    assert "allow_empty" in err
    _nothing_was_written(stage)


def test_a_source_path_that_does_not_exist_is_named(stage) -> None:
    code, _, err = stage.run("migrate", "old", "new", *ACCEPT)

    assert code == 2
    assert str(stage.folder / "source") in err or "source" in err


def test_a_loss_nobody_agreed_to_stops_the_move_with_the_flag_that_settles_it(stage, fill) -> None:
    def make(number: int) -> MemoryRecord:
        versions = stage.make(number).versions
        record = stage.make(number)
        return type(record)(
            id=record.id,
            content=record.content,
            scope=record.scope,
            created_at=record.created_at,
            versions=(*versions, _version()),
        )

    fill(stage.folder / "source", 5, make=make)

    code, _, err = stage.run("migrate", "old", "new", "--yes")

    assert code == 3
    assert "--accept-loss versions" in err
    _nothing_was_written(stage)


def _version():
    from memxfer.models import Version

    return Version(content="earlier text", event="ADD")


def test_accept_loss_all_does_not_stand_for_a_decision_about_owners(stage, fill) -> None:
    def make(number: int) -> MemoryRecord:
        record = stage.make(number)
        return type(record)(
            id=record.id, content="no user", scope=Scope(agent="a"), created_at=record.created_at
        )

    fill(stage.folder / "source", 5, make=make)

    code, _, err = stage.run("migrate", "old", "new", *ACCEPT)

    assert code == 3
    assert 'unscoped = "skip"' in err
    assert "[connections.new]" in err
    _nothing_was_written(stage)


def test_a_state_folder_that_cannot_be_written_is_named(stage, fill) -> None:
    fill(stage.folder / "source", 5)
    (stage.folder / "file").write_text("not a folder")

    code, _, err = stage.run("migrate", "old", "new", *ACCEPT, "--state-dir", "file/state")

    assert code == 2
    assert "file/state" in err
    assert "--state-dir" in err
    assert stage.truth()["received"] == 0


def test_resuming_towards_another_instance_is_refused(stage, fill) -> None:
    fill(stage.folder / "source", 5)
    stage.run("migrate", "old", "new", *ACCEPT, "--job", "j")
    stage.configure(document_id="{id}")

    code, _, err = stage.run("resume", "j")

    assert code == 2
    assert "document_id" in err


def test_a_second_run_of_a_running_job_is_refused(stage, fill) -> None:
    fill(stage.folder / "source", 4_000)
    stage.configure(batch_size=20, max_rate=40)
    first = stage.start("migrate", "old", "new", *ACCEPT, "--job", "j", "-q")
    while stage.truth()["received"] == 0:
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.01)

    code, _, err = stage.run("resume", "j")
    _, during, _ = stage.run("status", "j")
    first.kill()
    first.communicate()

    assert code == 2
    assert "another process" in err
    assert during["status"] == "running"


def test_a_job_nobody_knows_is_an_error_of_use(stage) -> None:
    code, _, err = stage.run("resume", "nothing-here")

    assert code == 2
    assert "nothing-here" in err


def test_hostile_records_arrive_and_are_shown_without_harm(stage, fill) -> None:
    texts = ["NUL \x00 inside", "user[/red]x", "bell \x07 and \x1b[31mred", "<script>alert(1)</script>"]

    def make(number: int) -> MemoryRecord:
        record = stage.make(number)
        return type(record)(
            id=f"user[/red]x\x1b[2J{number}",
            content=texts[number],
            scope=Scope(user="user[/red]x"),
            created_at=record.created_at,
        )

    fill(stage.folder / "source", len(texts), make=make)

    code, result, err = stage.run("migrate", "old", "new", *ACCEPT, "--job", "j")
    shown = stage.start("failures", "j").communicate()[0]

    assert code == 0, err
    assert result["counts"]["stored"] == len(texts)
    assert "\x1b[2J" not in shown + err
    assert any(loss["dimension"] == "sanitised" for loss in result["losses"])
