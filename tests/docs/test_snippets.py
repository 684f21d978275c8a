"""Every snippet of the README and the documentation, as a reader would type it."""

import ast
import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from memxfer.cli.failing import Ending
from memxfer.config import load_config
from memxfer.gaps.report import GapLine, GapReport
from memxfer.migration.results import Counts, JobResult

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
LANGUAGES = {"bash", "python", "toml", "json", "text"}


@pytest.mark.timeout(300)
def test_a_reader_can_follow_the_page(told_page, snippets_of, read_page):
    reader = read_page(told_page)
    for snippet in snippets_of(told_page):
        reader.follow(snippet)
    assert list(Path(reader.variables["HOME"]).iterdir()) == []  # nothing was written elsewhere


def test_every_snippet_is_of_a_kind_that_is_checked(page, snippets_of, stage_of):
    for snippet in snippets_of(page):
        assert snippet.language in LANGUAGES
        assert stage_of(page) is not None or snippet.language == "text"


def test_only_what_sets_up_the_checkout_is_not_run(page, snippets_of):
    for snippet in snippets_of(page):
        if not snippet.is_run:
            assert all(line.startswith(("make ", ". .venv")) for line in snippet.text.splitlines())


def test_configurations_describe_connections_that_exist(page, snippets_of, read_page, monkeypatch):
    for name in ("MEM0_API_KEY", "MEM0_SERVER_KEY", "SYNAP_API_KEY", "ZEP_API_KEY"):
        monkeypatch.setenv(name, "key")
    monkeypatch.syspath_prepend(EXAMPLES)
    reader = read_page(page)
    for snippet in snippets_of(page):
        if snippet.language == "toml":
            tomllib.loads(snippet.text)
        if snippet.title == "memxfer.toml":
            file = reader.folder / "memxfer.toml"
            file.write_text(snippet.text)
            connections = load_config(file).connections
            assert connections
            for connection in connections.values():
                assert connection.open().config.provider == connection.provider


def test_python_and_json_parse(page, snippets_of):
    for snippet in snippets_of(page):
        if snippet.language == "python":
            ast.parse(snippet.text)
        if snippet.language == "json":
            json.loads(snippet.text)


def test_the_documented_objects_have_the_keys_that_commands_print(snippets_of):
    page = "docs/reference/json-and-exit-codes.md"
    error, result, report = (json.loads(one.text) for one in snippets_of(page) if one.language == "json")
    assert list(error["error"]) == [field.name for field in dataclasses.fields(Ending)]
    assert list(result) == list(JobResult.model_validate(result).model_dump())
    assert list(result["counts"]) == list(Counts.model_fields)
    assert sum(number for name, number in result["counts"].items() if name != "listed") == 120
    assert list(report) == list(GapReport.model_fields)
    assert list(report["dimensions"][0]) == list(GapLine.model_fields)
    assert GapReport.model_validate(report).scanned == 120
