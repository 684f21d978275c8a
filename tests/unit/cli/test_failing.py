import json
import stat

from memxfer.errors import ConfigError, SecretError
from memxfer.migration.results import JobStatus


def test_an_unexpected_error_is_called_a_bug_and_keeps_its_text_out(cli, verbs, working_folder):
    verbs(status=KeyError("my secret memory"))
    answer = cli("status", "j")
    (file,) = (working_folder / ".memxfer").glob("bug-*.txt")
    assert answer.exit_code == 1
    assert "this is a bug in memxfer: KeyError" in answer.stderr
    assert str(file.relative_to(working_folder)) in answer.stderr
    assert "my secret memory" not in answer.output + file.read_text()
    assert "KeyError" in file.read_text()
    assert "in status" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_bug_is_shown_in_full_where_no_file_can_be_written(cli, verbs, working_folder):
    (working_folder / ".memxfer").write_text("in the way")
    verbs(status=KeyError("my secret memory"))
    answer = cli("status", "j")
    assert "builtins.KeyError" in answer.stderr
    assert "my secret memory" not in answer.stderr


def test_a_traceback_is_shown_only_when_asked_for_twice(cli, verbs):
    verbs(status=ConfigError("wrong"))
    assert "Traceback" not in cli("status", "j", "-v").stderr
    assert "in status" not in cli("status", "j", "-v").stderr
    assert "in status" in cli("status", "j", "-vv").stderr


def test_errors_are_json_lines_when_logs_are(cli, verbs):
    verbs(status=SecretError("the environment variable KEY is not set"))
    (event,) = map(json.loads, cli("status", "j", "--log-format", "json").stderr.splitlines())
    assert event["error"] == "SecretError"
    assert "KEY is not set" in event["text"]


def test_an_interrupt_ends_with_130(cli, verbs):
    verbs(status=KeyboardInterrupt())
    assert cli("status", "j").exit_code == 130


def test_a_config_file_that_is_not_there_says_how_to_get_one(cli, verbs):
    verbs(check=None)
    answer = cli("providers", "check", "old", "-c", "nowhere.toml")
    assert answer.exit_code == 2
    assert "memxfer init" in answer.stderr


def test_init_writes_a_file_that_can_be_read_and_refuses_to_overwrite_it(cli, working_folder):
    from memxfer.config import load_config

    assert cli("-c", "mine.toml", "init").exit_code == 0
    assert set(load_config(working_folder / "mine.toml").connections) == {"old", "new"}
    before = (working_folder / "mine.toml").read_text()
    again = cli("-c", "mine.toml", "init")
    assert again.exit_code == 2
    assert "stays as it is" in again.stderr
    assert (working_folder / "mine.toml").read_text() == before


def test_status_of_a_running_job_is_not_success(cli, verbs, result):
    verbs(status=result(JobStatus.RUNNING))
    assert cli("status", "j").exit_code == 5
