import json
import re

import pytest

from memxfer.gaps.report import GapReport

FIRST_LINES = {
    "table": "old -> new: 3 records read, which is all",
    "markdown": "# Gap report: old → new",
    "html": "<!DOCTYPE html>",
}


@pytest.mark.parametrize("form", list(FIRST_LINES))
def test_a_form_goes_to_stdout(cli, verbs, report, form):
    verbs(diff=report)
    answer = cli("diff", "old", "new", "--format", form)
    assert answer.exit_code == 0
    assert answer.stdout_bytes.decode("utf-8").splitlines()[0] == FIRST_LINES[form]
    assert "Old texts go." in answer.stdout


@pytest.mark.parametrize("arguments", [("--format", "json"), ("--json",), ("--json", "--format", "json")])
def test_json_can_be_asked_for_in_two_ways(cli, verbs, report, arguments):
    verbs(diff=report)
    assert GapReport.model_validate_json(cli("diff", "old", "new", *arguments).stdout) == report


def test_json_and_another_form_contradict_each_other(cli, verbs, report):
    calls = verbs(diff=report)
    answer = cli("diff", "old", "new", "--json", "--format", "html")
    assert answer.exit_code == 2
    assert "leave out one of --json and --format html" in answer.stderr
    assert calls == []


def test_a_form_nobody_knows_is_refused(cli):
    assert cli("diff", "old", "new", "--format", "pdf").exit_code == 2


@pytest.mark.parametrize("name", ["gaps.html", "gaps.HTM", "gaps.md", "gaps.txt"])
def test_a_file_gets_the_form_its_ending_names(cli, verbs, report, working_folder, name):
    verbs(diff=report)
    answer = cli("diff", "old", "new", "-o", name)
    form = {"gaps.html": "html", "gaps.HTM": "html", "gaps.md": "markdown"}.get(name, "table")
    assert answer.exit_code == 0
    assert answer.stdout == ""
    assert answer.stderr == f"the report is in {name}\n"
    assert (working_folder / name).read_text(encoding="utf-8").splitlines()[0] == FIRST_LINES[form]


@pytest.mark.parametrize("name", ["gaps.pdf", "gaps.docx", "gaps.html.gz", "gaps", ".html"])
def test_an_ending_that_names_no_form_is_refused_with_those_that_do_before_anything_is_read(
    cli, verbs, report, working_folder, name
):
    calls = verbs(diff=report)
    answer = cli("diff", "old", "new", "-o", name)
    assert answer.exit_code == 2
    assert ".html, .htm, .md, .json, .txt" in answer.stderr
    assert "--format table|json|markdown|html" in answer.stderr
    assert calls == []
    assert not (working_folder / name).exists()


@pytest.mark.parametrize("name", ["gaps.md", "gaps.pdf", "gaps"])
def test_a_form_that_is_asked_for_wins_over_the_ending(cli, verbs, report, working_folder, name):
    verbs(diff=report)
    cli("diff", "old", "new", "-o", name, "--format", "html")
    assert (working_folder / name).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["gaps.json", "gaps"])
def test_a_json_file_is_the_object_that_stdout_gets(cli, verbs, report, working_folder, name):
    verbs(diff=report)
    on_stdout = cli("diff", "old", "new", "-o", name, "--json").stdout
    assert (working_folder / name).read_text() == on_stdout
    assert json.loads(on_stdout)["source"] == "old"


def test_json_on_stdout_does_not_change_the_form_of_the_file(cli, verbs, report, working_folder):
    verbs(diff=report)
    for arguments in (("-o", "gaps.html"), ("-o", "other.md", "--format", "html")):
        shown = json.loads(cli("diff", "old", "new", "--json", *arguments).stdout)
        assert shown["source"] == "old"
        assert (working_folder / arguments[1]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_file_is_replaced_whole_and_is_its_owners_alone(cli, verbs, report, working_folder):
    file = working_folder / "gaps.md"
    file.write_text("of yesterday\n" * 10_000)
    verbs(diff=report)
    assert cli("diff", "old", "new", "--output", str(file), "-q").stderr == ""
    assert "yesterday" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(working_folder.glob(".memxfer-*"))


@pytest.mark.parametrize(
    ("place", "words"), [(".", "is a folder"), ("nowhere/gaps.md", "there is no folder")]
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(cli, verbs, report, place, words):
    calls = verbs(diff=report)
    answer = cli("diff", "old", "new", "-o", place)
    assert answer.exit_code == 2
    assert words in answer.stderr
    assert calls == []


def test_the_exit_code_is_the_same_with_a_file(cli, verbs, report):
    verbs(diff=report)
    assert cli("diff", "old", "new", "-o", "gaps.md", "--fail-on", "lost").exit_code == 3


def test_samples_are_in_a_table_only_when_asked_for_and_always_in_the_others(cli, verbs, line, report):
    named = line("tags", "content", "lost", records=1, samples=("id-77",))
    verbs(diff=report.model_copy(update={"dimensions": (named,)}))
    assert "id-77" not in cli("diff", "old", "new").stdout
    assert "id-77" in cli("diff", "old", "new", "-v").stdout
    for form in ("markdown", "html", "json"):
        assert "id-77" in cli("diff", "old", "new", "--format", form).stdout


def test_the_page_says_when_it_was_made(cli, verbs, report):
    verbs(diff=report)
    shown = cli("diff", "old", "new", "--format", "html").stdout
    assert re.search(
        r'<time datetime="\d{4}-\d\d-\d\dT[\d:]{8}\+00:00">\d{4}-\d\d-\d\d \d\d:\d\d UTC</time>', shown
    )


@pytest.mark.parametrize(
    ("facts", "verdict", "code"),
    [
        (("search", "packaging", "at_risk"), "at_risk", 3),
        (("repeats", "context", "unknown"), "at_risk", 3),
        (("search", "packaging", "at_risk"), "unknown", 0),
        (("tags", "content", "unknown"), "unknown", 0),
    ],
)
def test_fail_on_heeds_what_backends_do_although_no_record_has_it(cli, verbs, report, facts, verdict, code):
    dimension, group, found = facts
    values = report.dimensions[0].model_dump() | {
        "dimension": dimension,
        "group": group,
        "verdict": found,
        "records": 0,
    }
    verbs(diff=report.model_copy(update={"dimensions": (type(report.dimensions[0])(**values),)}))
    assert cli("diff", "old", "new", "--fail-on", verdict).exit_code == code
