"""With `--json`, stdout holds one object however a command ends."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memxfer.errors import (
    AuthError,
    ConfigError,
    DecisionRequiredError,
    InterruptedRunError,
    JobNotFoundError,
    LedgerError,
    NotReadyError,
)
from memxfer.migration import Holdings
from memxfer.migration.results import Failure, JobStatus

KEYS = ["code", "message", "remedy", "exit"]


def error_of(answer):
    shown = json.loads(answer.stdout)
    assert list(shown) == ["error"]
    error = shown["error"]
    assert list(error) == KEYS
    assert error["exit"] == answer.exit_code
    assert error["message"]
    return error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json",),
        ("--json", "--nonsense"),
        ("nonsense", "--json"),
        ("status", "--json"),
        ("status", "a", "b", "--json"),
        ("diff", "old", "--json"),
        ("diff", "old", "new", "--json", "--format", "pdf"),
        ("migrate", "--json", "old", "new", "--acept-loss", "all"),
        ("migrate", "old", "new", "--sample", "many", "--json"),
        ("migrate", "old", "new", "--sample", "0", "--json"),
        ("migrate", "old", "new", "--on-uncertain", "pray", "--json"),
        ("migrate", "--json", "--plan"),
        ("plan", "old", "--json"),
        ("resume", "--json"),
        ("failures", "--json"),
        ("jobs", "export", "j", "--json"),
        ("jobs", "import", "--json"),
        ("jobs", "--json", "nonsense"),
        ("providers", "show", "--json"),
        ("providers", "check", "old", "--as", "both", "--json"),
        ("emulate", "--json"),
        ("emulate", "synap", "--port", "99999", "--json"),
        ("demo", "--records", "1", "--json"),
        ("init", "too", "much", "--json"),
        ("status", "j", "--json=yes"),
    ],
)
def test_a_wrong_command_line_is_one_object_and_a_usage_error(cli, arguments):
    answer = cli(*arguments)
    error = error_of(answer)
    assert answer.exit_code == 2
    if arguments != ("--json",):
        assert error["code"] == "usage"
        assert "--help" in error["remedy"]


def test_the_words_after_two_dashes_are_no_options(cli):
    answer = cli("status", "--", "--json", "x")
    assert (answer.exit_code, answer.stdout) == (2, "")


ERRORS = [
    (ConfigError("no"), "config", 2),
    (JobNotFoundError("no job"), "job_not_found", 2),
    (LedgerError("damaged"), "ledger", 2),
    (AuthError("refused", provider="synap", operation="connect", correlation_id="c-17"), "auth", 4),
    (NotReadyError("wait"), "not_ready", 4),
    (DecisionRequiredError("lost", remedies=("--accept-loss a", "x = 1")), "decision_required", 3),
    (InterruptedRunError("stopped"), "interrupted", 130),
    (KeyboardInterrupt(), "interrupted", 130),
    (EOFError(), "interrupted", 130),
    (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "system", 2),
    (KeyError("my secret memory"), "bug", 1),
    (TimeoutError("my secret memory"), "bug", 1),
]
COMMANDS = {
    ("status", "j"): "status",
    ("failures", "j"): "failures",
    ("migrate", "old", "new", "--yes"): "migrate",
    ("resume", "j"): "resume",
    ("diff", "old", "new"): "diff",
    ("jobs", "list"): "list_jobs",
    ("jobs",): "list_jobs",
    ("jobs", "export", "j", "f"): "export_job",
    ("jobs", "import", "f"): "import_job",
    ("jobs", "rm", "j", "--yes"): "status",
    ("providers", "check", "old"): "check",
}


@pytest.mark.parametrize(("raised", "code", "exit_code"), ERRORS, ids=lambda value: str(value)[:20])
def test_every_kind_of_error_has_its_code_and_keeps_its_exit_code(cli, verbs, raised, code, exit_code):
    verbs(status=raised)
    answer = cli("status", "j", "--json")
    assert (error_of(answer)["code"], answer.exit_code) == (code, exit_code)
    assert "my secret memory" not in answer.output
    assert cli("status", "j").exit_code == exit_code
    assert cli("status", "j").stdout == ""


@pytest.mark.parametrize("raised", [ConfigError("no"), KeyboardInterrupt(), KeyError("x")], ids=repr)
@pytest.mark.parametrize(("arguments", "verb"), COMMANDS.items(), ids=lambda value: str(value))
def test_every_command_says_how_it_failed_in_one_object(cli, verbs, arguments, verb, raised):
    verbs(**{verb: raised})
    error_of(cli(*arguments, "--json"))


def test_all_ways_out_are_in_the_remedy_a_line_each(cli, verbs):
    verbs(status=DecisionRequiredError("2 things", remedies=("--accept-loss a", 'unscoped = "skip"')))
    assert error_of(cli("status", "j", "--json"))["remedy"] == '--accept-loss a\nunscoped = "skip"'


def test_the_backend_s_id_of_the_request_is_in_the_message(cli, verbs):
    verbs(status=AuthError("refused", correlation_id="c-17"))
    assert "c-17" in error_of(cli("status", "j", "--json"))["message"]


def test_a_job_that_failed_on_its_way_is_told_by_its_own_object(cli, verbs, result):
    verbs(migrate=result(JobStatus.FAILED, cause="auth", failed=1))
    answer = cli("migrate", "old", "new", "--yes", "--json")
    assert answer.exit_code == 4
    assert json.loads(answer.stdout)["status"] == "failed"


def test_a_list_that_breaks_off_leaves_no_half_of_an_object(cli, verbs):
    def rows():
        yield Failure(id="a", state="failed")
        raise LedgerError("the ledger is damaged")

    verbs(failures=rows())
    assert error_of(cli("failures", "j", "--json"))["message"] == "the ledger is damaged"


def test_a_question_that_is_declined_or_not_answered_is_an_interruption(cli, verbs, result, monkeypatch):
    verbs(holdings=Holdings(None, 0, True), remove_job=None)
    monkeypatch.setattr("memxfer.cli.asking.has_terminal", lambda: False)
    assert "--yes" in error_of(cli("jobs", "rm", "j", "--json", input=""))["message"]
    monkeypatch.setattr("memxfer.cli.asking.has_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *args, **options: False)
    assert "stays" in error_of(cli("jobs", "rm", "j", "--json"))["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "-c", "fresh.toml"),
        ("jobs", "export", "j", "f"),
        ("jobs", "import", "f"),
        ("jobs", "rm", "j", "--yes"),
        ("jobs",),
        ("failures", "j"),
        ("diff", "old", "new", "-o", "gaps.html"),
        ("providers",),
        ("providers", "show", "memory"),
        ("--version",),
    ],
)
def test_every_command_that_works_prints_one_object(cli, verbs, result, report, arguments):
    verbs(
        status=result(),
        holdings=Holdings(None, 0, True),
        remove_job=None,
        export_job=None,
        import_job="j",
        list_jobs=[],
        failures=[],
        diff=report,
    )
    answer = cli(*arguments, "--json")
    assert answer.exit_code == 0
    assert isinstance(json.loads(answer.stdout), dict)


# -- what the machine refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "message", "remedy"),
    [
        (OSError(errno.ENOSPC, "x", "/data/job"), "/data/job: No space left on device", "free some space"),
        (OSError(errno.ENOSPC, "x"), "the operating system says: No space left on device", "free some space"),
        (PermissionError(errno.EACCES, "x", b"/root/a"), "/root/a: Permission denied", "who may write"),
        (IsADirectoryError(errno.EISDIR, "x", Path("out")), "out: Is a directory", "name a file"),
        (OSError(errno.EROFS, "x", "a\x1b[2J"), "a\\x1b[2J: Read-only file system", "name another place"),
        (OSError(errno.EXDEV, "x", "a", None, "b"), "a and b: Invalid cross-device link", ""),
    ],
    ids=str,
)
def test_what_the_operating_system_refuses_is_told_with_its_path_and_is_no_bug(
    cli, verbs, working_folder, raised, message, remedy
):
    verbs(status=raised)
    error = error_of(cli("status", "j", "--json"))
    assert (error["code"], error["message"]) == ("system", message)
    assert remedy in error["remedy"]
    text = cli("status", "j").stderr
    assert text.startswith(f"error: {message}\n")
    assert "bug" not in text
    assert not (working_folder / ".memxfer").exists()


# -- a real process -------------------------------------------------------------------------------


def start(*arguments, stdout=subprocess.PIPE, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", "memxfer.cli", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("providers", "show", "synap"), ("providers", "--json"), ("--help",)])
def test_a_reader_that_goes_away_costs_no_traceback(arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    child = start(*arguments, stdout=write, PYTHONUNBUFFERED=unbuffered)
    os.close(write)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("arguments", [("providers", "--json"), ("status", "nowhere", "--json"), ("--help",)])
def test_a_full_disk_under_stdout_is_told(arguments):
    with Path("/dev/full").open("w") as full:
        child = start(*arguments, stdout=full)
        _, err = child.communicate(timeout=30)
    assert "Traceback" not in err
    assert "bug" not in err
    assert child.returncode == (2 if "status" in arguments else 141)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_only_reads_with_one_object(working_folder, number):
    slow = (
        "import asyncio, sys, memxfer.migration as m\n"
        "async def diff(*a, **k):\n"
        "    print('ready', file=sys.stderr, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "m.diff = diff\n"
        "from memxfer.cli import main\n"
        "sys.argv = ['memxfer', 'diff', 'old', 'new', '--json']\n"
        "main()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr.readline() == "ready\n"
    began = time.monotonic()
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert time.monotonic() - began < 30
    assert child.returncode == 130
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert "Traceback" not in err


def test_a_name_that_the_terminal_cannot_show_is_no_bug(working_folder):
    name = "notes-\u2603.toml"
    child = start("init", "-c", name, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, "")
    assert "-\\u2603.toml" in out
