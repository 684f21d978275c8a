"""Makes the pictures of the documentation: `make pictures`.

Terminal pictures are real runs of `memxfer` against the local emulator, exported by rich as SVG. Pictures of
reports are taken by a headless Chromium, if the machine has one. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diagrams import DIAGRAMS
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).parent
TUTORIAL = HERE.parent / "tutorial/first-migration.md"
PORT = "8090"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
MOST_BYTES = 150_000

THEME = TerminalTheme(
    (22, 27, 34),
    (214, 221, 228),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 120),
        (227, 179, 65),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (214, 221, 228),
    ],
)
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_CONTROL = re.compile(r"\x1b\[(\??\d*)([A-Za-ln-z])|([\r\n])")


@dataclass(frozen=True)
class Picture:
    """One terminal picture: what is typed, and what of the output is shown."""

    name: str
    title: str
    commands: tuple[str, ...]
    columns: int = 88
    cut: tuple[str, str] | None = None
    """Leave out the lines between the one that has the first text and the one that has the second."""
    most: int | None = None
    """Show no more lines of the output than this."""


PICTURES = (
    Picture(
        "demo",
        "memxfer demo: Mem0 to Synap, killed, resumed, compared",
        ("memxfer demo",),
        cut=("3/8", "4/8"),
    ),
    Picture(
        "check", "memxfer providers check", ("memxfer providers check old", "memxfer providers check new")
    ),
    Picture("diff", "memxfer diff", ("memxfer diff old new",), columns=100, most=34),
    Picture(
        "migrate",
        "memxfer migrate",
        ("memxfer migrate old new --accept-loss versions --job move --yes", "memxfer jobs"),
    ),
)


def main() -> int:
    """Make all pictures."""
    for name, drawing in DIAGRAMS.items():
        _write(HERE / f"{name}.svg", drawing)
    with _stage() as (folder, variables):
        for picture in PICTURES:
            lines = _run(picture, folder, variables)
            _write(HERE / f"{picture.name}.svg", _svg(picture, lines))
        _reports(folder, variables)
    return 0


def _write(file: Path, text: str) -> None:
    for forbidden in (tempfile.gettempdir(), str(Path.home()), str(HERE.parents[1])):
        if forbidden in text:
            raise SystemExit(f"{file.name} holds a path of this machine: {forbidden}")
    for address in re.findall(r'(?:href|src)="(https?:[^"]+)|url\("?(https?:[^")]+)', text):
        raise SystemExit(f"{file.name} loads {''.join(address)}")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    sys.stdout.write(f"{file.name}: {file.stat().st_size / 1000:.0f} kB\n")


# -- the runs -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _stage() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give the folder of the tutorial, with its store, its configuration and the emulator running."""
    base = Path(tempfile.mkdtemp(prefix="memxfer-pictures-"))
    folder, home = base / "move", base / "home"
    folder.mkdir()
    home.mkdir()
    variables = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "MEM0_DIR": str(home / "mem0"),
        "MEM0_TELEMETRY": "False",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "SYNAP_API_KEY": "synap_emulator_key",
        "TERM": "xterm-256color",
    }
    page = TUTORIAL.read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    config = re.findall(r'```toml title="memxfer.toml"\n(.*?)```', page, re.DOTALL)[-1]
    (folder / "memxfer.toml").write_text(config, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=variables, check=True, stdout=subprocess.DEVNULL
    )
    emulator = subprocess.Popen(
        ["memxfer", "emulate", "synap", "--port", PORT],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if not emulator.stdout or PORT not in emulator.stdout.readline():
            raise SystemExit(f"the emulator did not start; is port {PORT} in use?")
        yield folder, variables
    finally:
        emulator.terminate()
        emulator.communicate(timeout=20)
        shutil.rmtree(base)


def _run(picture: Picture, folder: Path, variables: dict[str, str]) -> list[str]:
    """Return the lines that the commands leave on a terminal."""
    lines: list[str] = []
    for command in picture.commands:
        shown = _output(command.split(), folder, variables, picture.columns)
        if picture.cut:
            shown = _without(shown, *picture.cut)
        lines += [f"\x1b[1m$ {command}\x1b[0m", *shown, ""]
    while lines and not lines[-1].strip():
        lines.pop()
    if picture.most and len(lines) > picture.most:
        lines = [*lines[: picture.most], f"\x1b[2m... {len(lines) - picture.most} more lines\x1b[0m"]
    return lines


def _without(lines: list[str], first: str, last: str) -> list[str]:
    begin = next(number for number, line in enumerate(lines) if first in line) + 3
    end = next(number for number, line in enumerate(lines) if last in line)
    return [*lines[:begin], f"     \x1b[2m... {end - begin} lines of the gap report\x1b[0m", "", *lines[end:]]


def _output(command: Sequence[str], folder: Path, variables: dict[str, str], columns: int) -> list[str]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    raw = b""
    with contextlib.suppress(OSError):  # Linux says so when the other side is closed
        while piece := os.read(ours, 65_536):
            raw += piece
    os.close(ours)
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{raw.decode()}")
    return _screen(raw.decode().replace(str(folder), "~/move"))


def _screen(raw: str) -> list[str]:
    """Return the lines of a terminal after the progress displays have redrawn theirs."""
    lines, row, at_start = [""], 0, False
    position = 0
    for found in _CONTROL.finditer(raw):
        text, position = raw[position : found.start()], found.end()
        if text:
            lines[row] = text if at_start else lines[row] + text
            at_start = False
        count, kind, move = found.groups()
        if move == "\r":
            at_start = True
        elif move == "\n":
            row, at_start = row + 1, False
            if row == len(lines):
                lines.append("")
        elif kind == "A":
            row = max(0, row - int(count or 1))
        elif kind == "K":
            lines[row] = ""
    return lines


def _svg(picture: Picture, lines: list[str]) -> str:
    console = Console(record=True, width=picture.columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(lines)), no_wrap=True, crop=True)
    drawing = console.export_svg(title=picture.title, theme=THEME, unique_id=picture.name)
    drawing = _FONT_FACE.sub("", drawing)
    return drawing.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")


# -- the reports ----------------------------------------------------------------------------------


def _reports(folder: Path, variables: dict[str, str]) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.stdout.write(f"no pictures of reports: none of {', '.join(BROWSERS)} is installed\n")
        return
    command = ["memxfer", "diff", "old", "new", "-o", "gaps.html"]
    subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True)
    for name, width, height, dark in (("report", 1280, 900, False), ("report-phone", 390, 844, True)):
        file = HERE / f"{name}.png"
        screenshot(browser, (folder / "gaps.html").as_uri(), file, width=width, height=height, dark=dark)
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise SystemExit(f"{file.name} has {size} bytes, more than {MOST_BYTES}")
        sys.stdout.write(f"{file.name}: {size / 1000:.0f} kB\n")


def screenshot(browser: str, address: str, file: Path, *, width: int, height: int, dark: bool) -> None:
    """Take a picture of a page, as large as a window."""
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width},{height}",
            f"--screenshot={file}",
            address,
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )


if __name__ == "__main__":
    sys.exit(main())
