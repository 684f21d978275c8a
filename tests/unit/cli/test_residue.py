"""What the command line says of originals, and how hard it is to lose them."""

import json
from pathlib import Path

import pytest

from memxfer.migration import Holdings, Options

KEPT = Holdings(Path("here/jobs/j/residue"), 1234, True)


@pytest.fixture
def kept(result):
    def make(residue=1234, **values):
        path = "here/jobs/j/residue"
        return result(**values).model_copy(update={"residue": residue, "residue_path": path})

    return make


@pytest.mark.parametrize("words", [(), ("--residue", "lossy"), ("--residue", "full"), ("--residue", "off")])
def test_migrate_passes_on_which_originals_to_keep(cli, verbs, result, words):
    calls = verbs(migrate=result())
    assert cli("migrate", "old", "new", "--yes", *words).exit_code == 0
    [(_, _, given)] = calls
    assert given["options"].residue == (words[1] if words else "lossy")


def test_another_word_is_wrong_usage(cli, verbs, result):
    calls = verbs(migrate=result())
    assert cli("migrate", "old", "new", "--residue", "some").exit_code == 2
    assert calls == []


def test_a_result_tells_how_many_originals_are_kept_and_where(cli, verbs, kept):
    verbs(status=kept())
    shown = " ".join(cli("status", "j").stdout.split())
    assert "originals of 1,234 records are kept in here/jobs/j/residue" in shown


def test_a_result_without_originals_does_not_speak_of_them(cli, verbs, kept):
    verbs(status=kept(0))
    assert "originals" not in cli("status", "j").stdout


def test_the_json_has_the_number(cli, verbs, kept):
    verbs(status=kept())
    shown = json.loads(cli("status", "j", "--json").stdout)
    assert shown["residue"] == 1234
    assert "residue_path" not in shown


@pytest.mark.usefixtures("at_a_terminal")
def test_rm_names_what_would_be_lost_and_how_to_keep_it(cli, verbs):
    calls = verbs(holdings=KEPT, remove_job=None)
    answer = cli("jobs", "rm", "j", input="n\n")
    asked = " ".join(answer.output.split())
    assert answer.exit_code == 130
    assert "originals of 1,234 records" in asked
    assert "memxfer migrate archive:here/jobs/j/residue archive:./originals" in asked
    assert "memxfer jobs export" in asked
    assert [name for name, _, _ in calls] == ["holdings"]


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize(("words", "typed"), [((), "y\n"), (("--yes",), "")])
def test_rm_lets_them_go_after_a_yes(cli, verbs, words, typed):
    calls = verbs(holdings=KEPT, remove_job=None)
    assert cli("jobs", "rm", "j", *words, input=typed).exit_code == 0
    assert calls[-1][2]["with_residue"] is True


def test_rm_without_anybody_to_ask_removes_nothing(cli, verbs):
    calls = verbs(holdings=KEPT, remove_job=None)
    assert cli("jobs", "rm", "j", input="").exit_code != 0
    assert [name for name, _, _ in calls] == ["holdings"]


def test_rm_of_a_damaged_job_says_that_nobody_knows_how_many_originals_would_go(cli, verbs):
    verbs(holdings=Holdings(KEPT.originals, None, False), remove_job=None)
    assert "originals of records" in " ".join(cli("jobs", "rm", "j", input="n\n").output.split())


def test_the_default_is_the_librarys():
    assert Options().residue == "lossy"
