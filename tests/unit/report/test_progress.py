import io
import json

import pytest
from rich.console import Console

from memxfer.migration.observer import Progress
from memxfer.report.progress import BarProgress, JsonProgress, LineProgress, QuietProgress, progress_line

MOVING = Progress(phase="move", done=1200, total=2000, rate=350.4, eta=2.3, failed=3, waiting=12.0)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_line_says_how_far_how_fast_how_long_and_what_failed():
    assert progress_line(MOVING) == (
        "moving: 1,200 of 2,000, 350/s, 2.3 s to go, 3 failed, waiting 12 s: the target asked"
    )


def test_what_is_not_known_is_left_out():
    assert progress_line(Progress(phase="scan", done=7)) == "reading: 7"


def test_lines_come_every_five_seconds_and_not_for_runs_that_are_shorter(capsys, clock):
    view = LineProgress(clock=clock)
    for phase, now in (("scan", 100), ("scan", 104.9), ("move", 105), ("move", 109.9), ("move", 110)):
        clock.now = now
        view.progress(Progress(phase=phase, done=int(now)))
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.splitlines() == ["moving: 105", "moving: 110"]


def test_notices_are_written_at_once_and_escaped(capsys, clock):
    view = LineProgress(clock=clock)
    view.notice("info", "reading [b]old[/b]")
    view.notice("warning", "odd\x1b name")
    assert capsys.readouterr().err.splitlines() == ["reading [b]old[/b]", "warning: odd\\x1b name"]


def test_json_lines_are_one_object_each(capsys, clock):
    view = JsonProgress(clock=clock)
    clock.now += 5
    view.progress(MOVING)
    view.progress(MOVING)
    view.notice("warning", "slow")
    progress, notice = map(json.loads, capsys.readouterr().err.splitlines())
    assert progress["event"] == "progress"
    assert (progress["done"], progress["total"], progress["rate"], progress["waiting"]) == (
        1200,
        2000,
        350.4,
        12.0,
    )
    assert notice == {"event": "notice", "level": "warning", "text": "slow"}


def test_quiet_keeps_warnings(capsys):
    view = QuietProgress()
    view.progress(MOVING)
    view.notice("info", "hello")
    view.notice("warning", "slow")
    assert capsys.readouterr().err == "warning: slow\n"


def test_the_bar_shows_the_same_facts_and_notices_above_it():
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, width=100, markup=False, highlight=False, color_system=None
    )
    with BarProgress(console) as view:
        view.progress(MOVING)
        view.notice("warning", "user[/red]x is odd")
    assert "1,200 of 2,000, 350/s" in out.getvalue()
    assert "user[/red]x is odd" in out.getvalue()
