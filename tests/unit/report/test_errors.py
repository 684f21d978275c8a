import sqlite3
from contextlib import closing

import pytest

from memxfer.errors import (
    AuthError,
    ConfigError,
    DecisionRequiredError,
    NotReadyError,
    RateLimitedError,
)
from memxfer.report.errors import code_of, error_lines, safe_traceback, system_text


def test_a_backend_error_names_its_place_a_way_on_and_the_correlation_id():
    error = AuthError("refused", provider="synap", operation="connect", status=401, correlation_id="c-1")
    first, correlation, hint = error_lines(error)
    assert first == "error: synap connect: refused"
    assert "providers check" in hint
    assert correlation.endswith("c-1")


def test_a_message_that_names_its_backend_is_not_told_twice():
    error = AuthError("connection new: synap refused the key (401)", provider="synap", operation="connect")
    assert error_lines(error)[0] == "error: connection new: synap refused the key (401)"


@pytest.mark.parametrize(("kind", "hint"), [(RateLimitedError, "max_rate"), (NotReadyError, "--wait-ready")])
def test_errors_name_the_setting_or_flag_that_helps(kind, hint):
    assert hint in error_lines(kind("why"))[1]


def test_a_missing_decision_lists_the_ways_out():
    lines = error_lines(DecisionRequiredError("2 records", remedies=("--accept-loss a", 'unscoped = "skip"')))
    assert lines == ["error: 2 records", "  decide with:", "    --accept-loss a", '    unscoped = "skip"']


def test_a_message_may_have_lines_and_none_may_steer_the_terminal():
    assert error_lines(ConfigError("one\x1b[2J\ntwo")) == ["error: one\\x1b[2J", "  two"]


def test_on_a_terminal_a_message_is_broken_between_words_and_what_is_to_be_copied_is_not():
    error = DecisionRequiredError(
        "a decision is needed:\n  user: 104 of 1,200 memories have no owner",
        remedies=("--accept-loss " + "a" * 40,),
    )
    assert error_lines(error, width=30) == [
        "error: a decision is needed:",
        "    user: 104 of 1,200",
        "      memories have no owner",
        "  decide with:",
        "    --accept-loss " + "a" * 40,
    ]


def test_an_error_without_words_is_named():
    assert error_lines(ConfigError()) == ["error: ConfigError"]


def test_tracebacks_keep_foreign_words_out_and_our_own_in():
    try:
        try:
            raise ValueError("the memory's text")
        except ValueError as cause:
            raise ConfigError("our words") from cause
    except ConfigError as error:
        text = safe_traceback(error)
    assert "the memory's text" not in text
    assert text.index("builtins.ValueError") < text.index("ConfigError: our words")
    assert "test_errors.py" in text


def sqlite_error(statement, *, prepare=lambda path: None, tmp_path=None):
    path = tmp_path / "x.sqlite"
    prepare(path)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.Error) as caught:
        connection.execute(statement)
    return caught.value


def test_an_error_of_sqlite_is_the_disks_and_no_bug(tmp_path):
    damaged = sqlite_error(
        "SELECT * FROM a", prepare=lambda path: path.write_bytes(b"secret text" * 999), tmp_path=tmp_path
    )
    assert system_text(damaged) == (
        "an SQLite file cannot be used: it is not an SQLite file; put it back from a backup"
    )
    assert code_of(damaged) == "system"
    (tmp_path / "x.sqlite").unlink()
    assert code_of(sqlite_error("SELECT secret FROM nowhere", tmp_path=tmp_path)) == "bug"
