"""What documentation repeats from the code is written by docs/generate.py, and is up to date."""

import importlib.util
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from memxfer.cli import exits
from memxfer.ledger.schema import SCHEMA

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_every_page_is_in_the_navigation():
    config = re.sub(r"!!python\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(config)["nav"])))
    there = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
    assert listed == there


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
