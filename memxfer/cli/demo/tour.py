"""The demo's steps: each runs the commands it names, and the checks do not believe the ledger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from memxfer.cli import exits, plugins
from memxfer.cli.demo.children import Commands, environment
from memxfer.cli.demo.comparing import Comparison, Store, compare_stores, compare_truth, read_store
from memxfer.cli.demo.stage import Narrator, demo_folder, write_config
from memxfer.cli.demo.truth import Truth
from memxfer.cli.session import Session
from memxfer.config import load_config
from memxfer.gaps.report import GapReport
from memxfer.report.console import data_console, notes_console
from memxfer.report.gaps import gap_view
from memxfer.report.machine import write_json
from memxfer.report.text import plain

__all__ = ["run_demo"]

_SEED = 7
_STEPS = 8
_JOB = "demo"
_CRASH_AT = 0.4
_SLOWLY = 0.4
"""Seconds an answer takes while the job is to be killed: time enough to hit its middle."""

_QUICKLY = 0.005
_SHOWN = 5
"""Problems that are listed one by one."""


@dataclass(frozen=True)
class _Tour:
    """What the steps share."""

    narrator: Narrator
    commands: Commands
    records: int
    truth: Truth

    def store(self, connection: str) -> Store:
        """Read a connection of the demo's configuration, in this process."""
        config = load_config(self.commands.folder / "memxfer.toml")
        return asyncio.run(read_store(config.connection(connection)))


@dataclass(frozen=True)
class _Outcome:
    """What the demo came to; its JSON is the command's."""

    records: int
    stored_when_killed: int | None
    sent_again: int
    stored: int
    stored_right: int
    round_trip_right: int
    clean: bool


def run_demo(session: Session, *, records: int, keep: Path | None, crash: bool) -> int:
    """Run the tour.

    Args:
        session: The global options; with `as_json`, one object on stdout and the story on stderr.
        records: Memories to make and move.
        keep: Empty folder to leave everything in; `None`: a temporary one, removed at the end.
        crash: Kill the job on its way, and resume it.

    Returns:
        The exit code: 0 only if everything arrived exactly once and came back the same.

    Raises:
        DemoError: A step did not do what it shows.
    """
    console = notes_console() if session.as_json else data_console()
    narrator = Narrator(console, _STEPS)
    with demo_folder(keep) as folder, ExitStack() as open_things:
        tour = _set_up(narrator, Commands(folder, environment(folder)), records, open_things)
        source = _show_losses(tour)
        killed_at, result = _move(tour, crash=crash)
        arrived = _check_target(tour, source)
        copied = _round_trip(tour, source)
        outcome = _outcome(records, killed_at, result, arrived, copied)
        narrator.show(_summary(outcome))
        if keep:
            narrator.say(f"Everything is in {folder}.")
    if session.as_json:
        write_json(asdict(outcome))
    return exits.CLEAN if outcome.clean else exits.FAILED


def _set_up(narrator: Narrator, commands: Commands, records: int, open_things: ExitStack) -> _Tour:
    folder = commands.folder
    open_things.enter_context(_variables(commands.environment))
    with narrator.step(f"A Mem0 store with {records:,} memories, embedded in a folder"):
        write_sample = plugins.load(plugins.SAMPLES, "mem0-oss")
        sample: Path = write_sample(folder / "old", count=records, seed=_SEED)
        narrator.say("several users, dates, metadata, and earlier versions of some")
    with narrator.step("A stand-in for Synap on this machine, made from its public documentation"):
        address = open_things.enter_context(commands.emulator("synap"))
        secrets = write_config(folder, sample, address)
        truth = open_things.enter_context(Truth(address.base_url))
        narrator.say(f"it answers on {address.base_url}")
    commands = replace(commands, environment={**commands.environment, **secrets})
    return _Tour(narrator, commands, records, truth)


def _show_losses(tour: _Tour) -> Store:
    """Show the gap report; return the source as it is before anything moves."""
    with tour.narrator.step("memxfer diff old new: what will the target not keep?"):
        report = GapReport.model_validate(tour.commands.result("diff", "old", "new"))
        tour.narrator.show(gap_view(report))
        return tour.store("old")


def _move(tour: _Tour, *, crash: bool) -> tuple[int | None, dict[str, Any]]:
    """Move the records; return how many were stored when the job was killed, and its result."""
    migrate = ("migrate", "old", "new", "--job", _JOB, "--accept-loss", "all", "--yes")
    if not crash:
        with tour.narrator.step("memxfer migrate old new"):
            result = tour.commands.result(*migrate)
        with tour.narrator.step("No crash, as you wished"):
            return None, result
    with tour.narrator.step(f"memxfer migrate old new, and kill -9 near {_CRASH_AT:.0%}"):
        tour.truth.answer_slowly(_SLOWLY)
        tour.commands.kill_when(lambda: tour.truth.distinct() >= tour.records * _CRASH_AT, *migrate)
        killed_at = tour.truth.distinct()
        tour.narrator.say(f"killed when the target held {killed_at:,} of {tour.records:,}")
    with tour.narrator.step(f"memxfer resume {_JOB}"):
        tour.truth.answer_slowly(_QUICKLY)
        result = tour.commands.result("resume", _JOB)
        twice = tour.truth.received() - tour.truth.distinct()
        tour.narrator.say(f"{result['resent']:,} were perhaps under way at the crash and were sent again")
        tour.narrator.say(f"{twice:,} of them the target had already; their key tells it so")
    return killed_at, result


def _check_target(tour: _Tour, source: Store) -> Comparison:
    with tour.narrator.step("What does the target hold? Asked of the emulator itself, record by record"):
        found = compare_truth(source, tour.truth.documents())
        _tell(tour.narrator, found, "stored exactly once, same content, date, metadata and user")
    return found


def _round_trip(tour: _Tour, source: Store) -> Comparison:
    with tour.narrator.step("The way back: Mem0 to an archive, the archive to an empty Mem0"):
        for start, end in (("old", "archive:./backup"), ("archive:./backup", "copy")):
            tour.narrator.say(f"memxfer migrate {start} {end}")
            tour.commands.result("migrate", start, end, "--accept-loss", "all", "--yes")
    with tour.narrator.step("Are both Mem0 stores the same? Field by field, with ids and history"):
        found = compare_stores(source, tour.store("copy"))
        _tell(tour.narrator, found, "the same in every field, apart from memxfer's own mark")
    return found


def _tell(narrator: Narrator, found: Comparison, meaning: str) -> None:
    narrator.say(f"{found.matched:,} of {found.compared:,}: {meaning}")
    for name, problem in list(found.problems.items())[:_SHOWN]:
        narrator.say(f"  {plain(name)}: {problem}")
    if len(found.problems) > _SHOWN:
        narrator.say(f"  and {len(found.problems) - _SHOWN:,} more")


def _outcome(
    records: int, killed_at: int | None, result: dict[str, Any], arrived: Comparison, copied: Comparison
) -> _Outcome:
    return _Outcome(
        records=records,
        stored_when_killed=killed_at,
        sent_again=result["resent"],
        stored=result["counts"]["stored"] + result["counts"]["present"],
        stored_right=arrived.matched,
        round_trip_right=copied.matched,
        clean=not (arrived.problems or copied.problems) and arrived.compared == copied.compared == records,
    )


def _summary(outcome: _Outcome) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    rows: list[tuple[int | None, str]] = [
        (outcome.records, "memories in Mem0"),
        (outcome.stored_when_killed, "in Synap when the job was killed"),
        (outcome.sent_again, "sent again by resume, under the same keys"),
        (outcome.stored, "in Synap at the end, by the ledger"),
        (outcome.stored_right, "of them right and there exactly once, by the emulator"),
        (outcome.round_trip_right, "the same after Mem0 -> archive -> Mem0"),
    ]
    for number, meaning in rows:
        if number is not None:
            table.add_row(Text(f"{number:,}"), Text(meaning))
    verdict = "Everything matched." if outcome.clean else "NOT everything matched: see above."
    table.add_row("", Text(verdict, style="bold green" if outcome.clean else "bold red"))
    return table


@contextmanager
def _variables(values: Any) -> Iterator[None]:
    """Set environment variables for a while: Mem0 reads its own when it is imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
