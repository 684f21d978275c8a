"""The report of `diff`, in the form and at the place that were asked for."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from memxfer.cli.session import Session
from memxfer.errors import ConfigError

if TYPE_CHECKING:
    from memxfer.gaps.report import GapReport

__all__ = ["Form", "form_of_file", "form_of_stdout", "save", "show"]

Form = Literal["table", "json", "markdown", "html"]

ENDINGS: dict[str, Form] = {
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".json": "json",
    ".txt": "table",
}
"""What a file's ending says about the report in it."""


def form_of_stdout(session: Session, form: Form | None, output: Path | None) -> Form | None:
    """Return the form of the report on stdout; `None` if it goes into the file only.

    Raises:
        ConfigError: `--json` and another form were asked for, and there is no file for the other.
    """
    if session.as_json:
        if output is None and form not in (None, "json"):
            raise ConfigError(
                f"--json is the same as --format json; leave out one of --json and --format {form}"
            )
        return "json"
    return None if output is not None else form or "table"


def form_of_file(session: Session, form: Form | None, output: Path) -> Form:
    """Return the form of the report in a file: the one asked for, else the one that its ending names.

    Raises:
        ConfigError: The ending names no form and none was asked for, or the file could not be written.
    """
    from memxfer.report.saving import check_place

    check_place(output)
    ending = output.suffix.lower()
    found = form or ENDINGS.get(ending) or ("json" if session.as_json and not ending else None)
    if found is None:
        problem = f"no report is written as {ending}" if ending else "the name has no ending"
        raise ConfigError(
            f"{output}: {problem}; use a name with one of {', '.join(ENDINGS)}, or say --format "
            f"{'|'.join(get_args(Form))}"
        )
    return found


def show(session: Session, report: GapReport, form: Form) -> None:
    """Write the report to stdout: a table fits the terminal, everything else is as in a file."""
    if form == "table":
        from memxfer.report.console import data_console
        from memxfer.report.gaps import gap_view

        data_console().print(gap_view(report, with_samples=session.verbose > 0))
    elif form == "json":
        from memxfer.report.machine import write_json

        write_json(report)
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # a page that declares UTF-8 is UTF-8, whatever the terminal's encoding
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        sys.stdout.write(_text(session, report, form))


def save(session: Session, report: GapReport, form: Form, *, output: Path) -> None:
    """Write the report into a file, whole or not at all.

    Raises:
        ConfigError: The file cannot be written.
    """
    from memxfer.report.saving import save_text

    save_text(output, _text(session, report, form))


def _text(session: Session, report: GapReport, form: Form) -> str:
    if form == "html":
        from datetime import UTC, datetime

        from memxfer.report.html import html_report

        return html_report(report, generated_at=datetime.now(UTC))
    if form == "markdown":
        from memxfer.report.markdown import markdown_report

        return markdown_report(report)
    if form == "json":
        import json

        return json.dumps(report.model_dump(mode="json")) + "\n"
    from memxfer.report.gaps import gap_text

    return gap_text(report, with_samples=session.verbose > 0)
