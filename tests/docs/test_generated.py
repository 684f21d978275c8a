"""What documentation repeats from the code is written by docs/generate.py, and is up to date."""

import importlib.util
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from memxfer import errors
from memxfer.cli import exits
from memxfer.gaps.report import Verdict
from memxfer.ledger.schema import SCHEMA
from memxfer.report.errors import CODES, code_of

ROOT = Path(__file__).parents[2]


def _load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return _load("generate")


def test_the_generated_parts_of_this_page_are_up_to_date(generate, page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert generate.render(text) == text, "run `make reference`"


def test_every_part_is_used_and_every_used_part_exists(generate):
    asked = set()
    for pattern in generate.PAGES:
        for file in ROOT.glob(pattern):
            asked |= set(re.findall(r"<!-- generated: ([a-z0-9-]+) -->", file.read_text(encoding="utf-8")))
    assert asked == set(generate.PARTS)


def test_a_stale_page_is_found(generate):
    stale = "<!-- generated: exit-codes -->\nSTALE\n<!-- /generated -->\n"
    assert "STALE" not in generate.render(stale)
    assert exits.MEANINGS[0] in generate.render(stale)


@pytest.fixture(scope="module")
def hooks():
    return _load("hooks")


def test_every_page_is_in_the_navigation(hooks):
    config = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(config)["nav"])))
    there = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
    assert listed == there | set(hooks.ADDED)


def test_links_of_the_repository_lead_to_pages_of_the_site(hooks):
    def shown(source, link):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
        return hooks.on_page_markdown(f"[x]({link})", page=page)

    assert (
        shown("how-to/a.md", "../../providers/synap/README.md#limits")
        == "[x](../providers/details/synap.md#limits)"
    )
    assert shown("contributing.md", "docs/reference/cli.md") == "[x](reference/cli.md)"
    assert shown("providers/details/synap.md", "../../docs/how-to/a.md") == "[x](../../how-to/a.md)"
    assert shown("index.md", "https://example.org/a") == "[x](https://example.org/a)"


def test_troubleshooting_has_every_code_of_an_error():
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    kinds = {getattr(errors, name) for name in errors.__all__}
    shown_otherwise = {errors.MemxferError, errors.RecordError, errors.BatchRefusedError}
    codes = {code_of(kind("")) for kind in kinds - shown_otherwise} | set(CODES)
    assert {code for code in codes if f"`{code}`" not in text} == set()


def test_the_glossary_has_every_verdict():
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    assert {verdict.value for verdict in Verdict if f"`{verdict.value}`" not in text} == set()


def test_pictures_load_nothing_and_name_no_path_of_a_machine():
    files = list((ROOT / "docs/pictures").glob("*.svg"))
    assert len(files) > 3
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(href|src)=|url\([^#]|/(tmp|home|root|Users)/", text), file.name
    assert all(file.stat().st_size < 150_000 for file in (ROOT / "docs/pictures").glob("*.png"))


def test_every_link_to_a_file_leads_to_one(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_ledgers_tables_are_documented_as_they_are():
    text = (ROOT / "docs/explanation/ledger.md").read_text(encoding="utf-8")
    with closing(sqlite3.connect(":memory:")) as ledger:
        ledger.executescript(SCHEMA)
        names = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: {row[1] for row in ledger.execute(f"PRAGMA table_info({name})")} for name in names}
    documented = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert columns.keys() - {"meta"} == documented.keys()
    for name, description in documented.items():
        assert set(re.findall(r"`(\w+)`", description)) <= columns[name] | {"state"}
