import json
import logging

import pytest

from memxfer.cli.logs import configure
from memxfer.cli.session import Session


@pytest.fixture
def say(capsys):
    """Log one line as memxfer and one as a vendor; return what stderr got."""

    def log(session):
        configure(session)
        logging.getLogger("memxfer.engine").info("moving on\x1b[2J")
        logging.getLogger("vendor").error("the text of a memory")
        return capsys.readouterr().err

    return log


def test_vendors_are_never_quoted(say):
    assert say(Session()) == ""
    assert "the text of a memory" not in say(Session(verbose=2))


def test_information_is_shown_when_asked_for(say):
    assert say(Session(verbose=1)) == "info: moving on\\x1b[2J\n"


def test_json_logs_are_one_object_a_line(say):
    event = json.loads(say(Session(verbose=1, log_format="json")))
    assert (event["event"], event["level"], event["logger"]) == ("log", "info", "memxfer.engine")


def test_configuring_again_does_not_log_twice(say):
    say(Session(verbose=1))
    assert say(Session(verbose=1)).count("moving on") == 1


def test_quiet_leaves_errors(capsys):
    configure(Session(quiet=True))
    logging.getLogger("memxfer").warning("hm")
    logging.getLogger("memxfer").error("oh")
    assert capsys.readouterr().err == "error: oh\n"


def test_levels_that_a_library_has_set_do_not_count(capsys):
    logging.getLogger("memxfer.engine").setLevel(logging.DEBUG)
    try:
        configure(Session())
        logging.getLogger("memxfer.engine").info("moving on")
        assert capsys.readouterr().err == ""
    finally:
        logging.getLogger("memxfer.engine").setLevel(logging.NOTSET)
