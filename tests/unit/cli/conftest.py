import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

import memxfer.migration
from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.cli.app import build
from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.migration.results import Counts, JobResult, JobStatus

CONFIG = """
[connections.old]
provider = "memory"
[connections.new]
provider = "memory"
"""


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch) -> Path:
    """Every command of a test runs in an empty folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEMXFER_CONFIG", raising=False)
    (tmp_path / "memxfer.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


@pytest.fixture
def cli():
    """Run the program: `cli("status", "JOB")`."""
    app = build()

    def run(*arguments, **options):
        return CliRunner().invoke(app, list(arguments), **options)

    return run


@pytest.fixture
def at_a_terminal(monkeypatch):
    """Make memxfer believe that somebody can be asked."""
    monkeypatch.setattr("memxfer.cli.asking.has_terminal", lambda: True)


@pytest.fixture
def verbs(monkeypatch):
    """Put a stand-in in the place of a verb: `verbs(status=function)`; returns what it was called with."""
    calls = []

    def put(**stand_ins):
        for name, answer in stand_ins.items():
            monkeypatch.setattr(memxfer.migration, name, _recording(name, answer, calls), raising=False)
        return calls

    return put


_ASYNC = {"diff", "migrate", "resume", "assess", "check"}


def _recording(name, answer, calls):
    def give(*args, **kwargs):
        calls.append((name, args, kwargs))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def give_later(*args, **kwargs):
        return give(*args, **kwargs)

    return give_later if name in _ASYNC else give


@pytest.fixture
def line():
    def make(dimension, group, verdict, **values):
        return GapLine(
            dimension=Dimension(dimension),
            group=DimensionGroup(group),
            source="native",
            target="none",
            verdict=Verdict(verdict),
            **values,
        )

    return make


@pytest.fixture
def report(line):
    return GapReport(
        source="old",
        target="new",
        scanned=3,
        total=3,
        blocking=False,
        dimensions=(
            line(
                "versions", "versioning", "lost", records=2, samples=("a", "b"), consequence="Old texts go."
            ),
            line("created_at", "temporal", "kept", records=3),
        ),
    )


@pytest.fixture
def result(line):
    def make(status=JobStatus.COMPLETED, *, cause="", **counts):
        return JobResult(
            job="old-to-new-1",
            status=status,
            counts=Counts(**{"listed": 3, "stored": 3, **counts}),
            documents=3,
            losses=(line("versions", "versioning", "lost", records=2),),
            seconds=1.5,
            records_per_second=2.0,
            message="Done.",
            cause=cause,
        )

    return make
