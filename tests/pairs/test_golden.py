"""The gap report of every pair, as Markdown that was read line by line.

`MEMXFER_GOLDEN=write pytest tests/pairs/test_golden.py` writes them anew: then read the difference.
"""

import difflib
import os
from pathlib import Path

import pytest

from memxfer import migration
from memxfer.report.markdown import markdown_report
from memxfer_mem0.sample import write_sample_store
from tests.pairs.conftest import PAIRS
from tests.pairs.population import population

FOLDER = Path(__file__).parent / "golden"


async def sample(pairs, name):
    """Return a source whose records its own kind of app wrote."""
    if name == "mem0-oss":
        config = write_sample_store(pairs.folder / "app", count=200)
        return pairs.mem0_oss_app(config)
    if name == "mem0":
        return pairs.mem0_app()
    return await pairs.source(name, list(population(100)))


def anonymous(report):
    """Take out the ids, which a Mem0 store makes at random."""
    lines = tuple(line.model_copy(update={"samples": ()}) for line in report.dimensions)
    return report.model_copy(update={"dimensions": lines})


@pytest.mark.anyio
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=[f"{a}-to-{b}" for a, b in PAIRS])
async def test_the_report_of_a_pair_is_the_one_that_was_read(pairs, source, target):
    report = await migration.diff(await sample(pairs, source), pairs.target(target))

    text = markdown_report(anonymous(report))

    golden = FOLDER / f"{source}-to-{target}.md"
    if os.environ.get("MEMXFER_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    known = golden.read_text(encoding="utf-8")
    assert text == known, "".join(difflib.unified_diff(known.splitlines(True), text.splitlines(True)))


def test_there_is_one_for_each_pair_and_no_other():
    assert {path.stem for path in FOLDER.glob("*.md")} == {f"{a}-to-{b}" for a, b in PAIRS}
