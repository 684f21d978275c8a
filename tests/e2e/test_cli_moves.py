"""The command line over real processes: exit codes, JSON, stdout against stderr, Ctrl-C."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from memxfer_synap.emulator import EMULATOR_API_KEY

CONSENT = ("--accept-loss", "all", "--job", "j", "--yes")
RESULT_KEYS = {
    "job",
    "status",
    "counts",
    "documents",
    "ignored",
    "resent",
    "losses",
    "residue",
    "seconds",
    "records_per_second",
}
STATES = ("accepted", "stored", "present", "skipped", "rejected", "failed", "uncertain", "gone")


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)


@pytest.fixture
def slow(stage, fill):
    """A source of 400 records and a target that takes 20 of them every 0.3 s and writer."""
    fill(stage.folder / "source", 400)
    stage.configure(transport="http", batch_size=5)
    stage.server.admin.configure(latency_seconds=0.3)
    return stage


def test_a_whole_move_with_the_keys_of_the_contract(stage, fill):
    fill(stage.folder / "source", 60)
    stage.configure(transport="http")
    code, report, _ = stage.run("diff", "old", "new")
    assert (code, report["scanned"], report["total"]) == (0, 60, 60)
    code, result, err = stage.run("migrate", "old", "new", *CONSENT)
    assert (code, result["status"], result["counts"]["stored"]) == (0, "completed", 60), err
    assert set(result) == RESULT_KEYS
    assert sum(result["counts"][state] for state in STATES) == result["counts"]["listed"] == 60
    code, status, _ = stage.run("status", "j")
    assert (code, status["counts"], set(status)) == (0, result["counts"], RESULT_KEYS)
    assert stage.run("failures", "j")[1] == {"job": "j", "failures": []}
    assert stage.run("jobs")[1]["jobs"][0]["stored"] == 60


def test_a_dry_run_writes_nothing_and_leaves_no_job(stage, fill):
    fill(stage.folder / "source", 10)
    code, result, _ = stage.run("migrate", "old", "new", "--dry-run", *CONSENT)
    assert code == 0
    assert set(result) == RESULT_KEYS
    assert stage.truth()["received"] == 0
    assert stage.run("status", "j")[0] == 2
    assert not (stage.folder / ".memxfer" / "jobs" / "j").exists()


def test_a_wrong_key_ends_with_4_before_anything_is_written(stage, fill):
    fill(stage.folder / "source", 10)
    code, result, err = stage.run("migrate", "old", "new", *CONSENT, key="wrong-key-17")
    assert (code, result["error"]["code"], result["error"]["exit"]) == (4, "auth", 4)
    assert "wrong-key-17" not in str(result)
    assert err.startswith("error: connection new: synap refuse")
    assert "wrong-key-17" not in err


def test_a_missing_key_ends_with_2_and_names_the_variable(stage, fill):
    fill(stage.folder / "source", 10)
    code, _, err = stage.run("providers", "check", "new", key="")
    assert code == 2
    assert "STAGE_KEY" in err


def test_records_without_a_user_need_a_decision_and_get_3(stage, fill):
    from memxfer.models import MemoryRecord

    fill(
        stage.folder / "source",
        3,
        make=lambda number: MemoryRecord(id=f"user[/red]{number}", content="shared?"),
    )
    code, result, err = stage.run("migrate", "old", "new", *CONSENT)
    assert (code, result["error"]["code"]) == (3, "decision_required")
    assert "unscoped" in result["error"]["remedy"]
    assert "unscoped" in err
    assert stage.truth()["received"] == 0
    code, report, _ = stage.run("diff", "old", "new", "--fail-on", "lost")
    assert (code, report["blocking"]) == (3, True)


def test_a_job_can_be_taken_elsewhere_and_removed(stage, fill):
    fill(stage.folder / "source", 10)
    stage.configure(transport="http")
    stage.run("migrate", "old", "new", *CONSENT)
    assert stage.run("jobs", "export", "j", "j.tar.gz")[0] == 0
    assert stage.run("jobs", "rm", "j", "--yes")[0] == 0
    assert stage.run("status", "j")[0] == 2
    assert stage.run("jobs", "import", "j.tar.gz") == (0, {"job": "j"}, "")
    assert stage.run("status", "j")[1]["counts"]["stored"] == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_keeps_the_place_and_gives_130(slow, number):
    process = slow.start("migrate", "old", "new", *CONSENT, "--json")
    wait_for(lambda: slow.truth()["distinct_ids"] >= 80, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["status"]) == (130, "interrupted")
    assert "stopping: finishing what is in flight; Ctrl-C again to stop at once" in err
    assert result["counts"]["uncertain"] == 0
    slow.server.admin.configure(latency_seconds=0)
    code, resumed, err = slow.run("resume", "j")
    assert (code, resumed["counts"]["stored"]) == (0, 400), err
    assert slow.truth()["received"] == 400  # what was drained was not sent again


def test_the_second_signal_stops_at_once(slow):
    process = slow.start("migrate", "old", "new", *CONSENT)
    wait_for(lambda: slow.truth()["distinct_ids"] >= 80, process)
    slow.server.admin.configure(latency_seconds=6)
    wait_for(lambda: slow.truth()["distinct_ids"] >= 100, process)
    process.send_signal(signal.SIGINT)
    said = process.stderr.readline()
    while "stopping" not in said:
        assert said
        said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(4) == 130  # the answers it waits for take six seconds
    process.communicate()
    slow.server.admin.configure(latency_seconds=0)
    assert slow.run("resume", "j")[1]["counts"]["stored"] == 400


def test_a_pipe_that_closes_early_is_no_error_of_ours(stage, fill):
    fill(stage.folder / "source", 10)
    stage.run("migrate", "old", "new", *CONSENT)
    with stage.start("failures", "j") as process:
        process.stdout.close()
        assert "bug" not in process.stderr.read()


def test_a_person_at_a_terminal_is_asked_first(stage, fill):
    fill(stage.folder / "source", 10)
    consent = [word for word in CONSENT if word != "--yes"]
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "memxfer.cli", "migrate", "old", "new", *consent],
        cwd=stage.folder,
        env={**os.environ, "STAGE_KEY": EMULATOR_API_KEY},
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
    )
    os.close(keyboard)
    shown = b""
    while b"Only yes is taken" not in shown:
        assert select.select([screen], [], [], 30)[0], shown
        shown += os.read(screen, 1000)
    os.write(screen, b"y\n")
    code = process.wait(30)
    os.close(screen)
    assert b"memories in old" in shown
    assert b"The source is only read" in shown
    assert code == 130
    assert stage.truth()["received"] == 0
