import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from memxfer.migration.observer import Progress
from memxfer.report.progress import BarProgress, JsonProgress, LineProgress, QuietProgress, progress_line

MOVING = Progress(phase="move", done=1200, total=2000, rate=350.4, eta=2.3, failed=3, waiting=12.0)
SETTLING = Progress(phase="settle", done=300, total=1500, rate=4.0, eta=300.0, target="new")


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


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"next_check": 8.0}, "300 of 1,500, 4.0/s, 5 min 00 s to go, next check in 8.0 s"),
        ({"asked": 40}, "300 of 1,500, 4.0/s, 5 min 00 s to go, checking, 40 asked so far"),
        (
            {"next_check": 8.0, "waiting": 30.0},
            "300 of 1,500, 4.0/s, 5 min 00 s to go, waiting 30 s: the target asked",
        ),
    ],
)
def test_while_a_target_processes_it_is_told_who_how_many_and_when_it_is_asked_again(now, words):
    line = progress_line(replace(SETTLING, **now))
    assert line == f"waiting for new to process 1,200 documents: {words}"


def test_skipped_rejected_and_failed_are_three_things():
    line = progress_line(Progress(phase="move", done=9, skipped=4, rejected=1, failed=0))
    assert line == "moving: 9, 4 skipped, 1 rejected"


@pytest.mark.parametrize("width", [80, 100])
def test_the_bar_of_a_settling_job_fits_a_narrow_terminal(width):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    with BarProgress(console) as view:
        view.progress(replace(SETTLING, next_check=29.0, skipped=12))
    assert "waiting for new to process 1,200 documents" in out.getvalue()
    assert "to go, 12 skipped, next check in 29 s" in out.getvalue()


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
    assert progress == {
        "event": "progress",
        "phase": "move",
        "done": 1200,
        "total": 2000,
        "rate": 350.4,
        "eta": 2.3,
        "skipped": 0,
        "rejected": 0,
        "failed": 3,
        "waiting": 12.0,
        "target": "",
        "asked": None,
        "next_check": None,
    }
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
