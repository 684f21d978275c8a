"""The report of `diff`, in the form and at the place that were asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from memxfer.cli.session import Session
from memxfer.errors import ConfigError

if TYPE_CHECKING:
    from memxfer.gaps.report import GapReport

__all__ = ["Form", "prepare", "save", "show"]

Form = Literal["table", "json", "markdown", "html"]

_BY_SUFFIX: dict[str, Form] = {".json": "json", ".md": "markdown", ".html": "html", ".htm": "html"}


def prepare(session: Session, form: Form | None, output: Path | None) -> Form:
    """Return the form to write: the one asked for, else the one the file's ending names, else a table.

    Raises:
        ConfigError: `--json` and another form were asked for, or the file could not be written.
    """
    if output is not None:
        from memxfer.report.saving import check_place

        check_place(output)
    if session.as_json:
        if form not in (None, "json"):
            raise ConfigError(
                f"--json is the same as --format json; leave out one of --json and --format {form}"
            )
        return "json"
    if form is None and output is not None:
        return _BY_SUFFIX.get(output.suffix.lower(), "table")
    return form or "table"


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
        # bytes: a page that declares UTF-8 is UTF-8, whatever the terminal's encoding
        sys.stdout.flush()
        sys.stdout.buffer.write(_text(session, report, form).encode("utf-8"))
        sys.stdout.buffer.flush()


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
