"""A page and the folder that a reader of it would have."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORT = "8090"
OTHER_PORT = "8091"
TUTORIAL = "docs/tutorial/first-migration.md"
FENCE = re.compile(
    r"^(?:<!-- snippet: (?P<note>[^\n]*?) -->\n)?"
    r"```(?P<language>\w*)(?: title=\"(?P<title>[^\"\n]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
STAGE = re.compile(r"<!-- stage:(?P<words>[a-z0-9 ]*)-->")


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page."""

    language: str
    text: str
    note: str = ""
    title: str = ""

    @property
    def is_run(self) -> bool:
        return not self.note.startswith("not run here")

    @property
    def exit_code(self) -> int:
        return int(self.note.removeprefix("exit ")) if self.note.startswith("exit ") else 0


def pages() -> list[str]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [file.relative_to(ROOT).as_posix() for file in found]


def snippets(page: str) -> list[Snippet]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Snippet(found["language"], found["text"], found["note"] or "", found["title"] or "")
        for found in FENCE.finditer(text)
    ]


def stage_words(page: str) -> list[str] | None:
    """Return what the reader of a page has before it begins; `None`: the page runs nothing."""
    found = STAGE.search((ROOT / page).read_text(encoding="utf-8"))
    return found["words"].split() if found else None


def pytest_generate_tests(metafunc) -> None:
    """Run a test with `page` once per page, one with `told_page` once per page that runs something."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages())
    if "told_page" in metafunc.fixturenames:
        metafunc.parametrize("told_page", [page for page in pages() if stage_words(page) is not None])


@pytest.fixture
def snippets_of():
    return snippets


@pytest.fixture
def stage_of():
    return stage_words


@dataclass
class Reader:
    """Somebody who types in every snippet of a page, in order, at one terminal.

    What a snippet exports, and the folder it changes to, hold for those below it.
    """

    folder: Path
    variables: dict[str, str]
    ports: dict[str, str]
    background: list[subprocess.Popen[str]] = field(default_factory=list)

    def follow(self, snippet: Snippet) -> None:
        if not snippet.is_run:
            return
        text = snippet.text
        for shown, used in self.ports.items():
            text = text.replace(shown, used)
        if snippet.title:
            (self.folder / snippet.title).write_text(text, encoding="utf-8")
        if snippet.note == "background":
            self._start(text)
        elif snippet.language == "bash":
            self._type(text, snippet.exit_code)
        elif snippet.language == "python" and not snippet.title.startswith("test_"):
            self._run([sys.executable, "-c", text])

    def _start(self, text: str) -> None:
        """Run a command in a second terminal, until the page ends."""
        process = subprocess.Popen(
            shlex.split(text), cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        )
        self.background.append(process)
        assert "http://127.0.0.1" in process.stdout.readline()

    def _type(self, text: str, expected: int) -> None:
        """Type commands at a terminal, and answer yes to whatever they ask."""
        left = self.variables["HOME"] + ".left"
        command = f"trap {shlex.quote(f'(pwd; env -0) > {shlex.quote(left)}')} EXIT\n{text}"
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.folder,
                env=self.variables,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
            os.close(theirs)
            os.write(ours, b"yes\n" * _ANSWERS)
            shown = _read_all(ours, process)
        finally:
            os.close(ours)
        assert process.returncode == expected, f"{text}\n{shown.decode(errors='replace')}"
        folder, _, variables = Path(left).read_text(encoding="utf-8").partition("\n")
        self.folder = Path(folder)
        self.variables = dict(one.split("=", 1) for one in variables.split("\0") if one)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

    def close(self) -> None:
        for process in self.background:
            process.terminate()
            process.communicate(timeout=20)


_ANSWERS = 8
_LIMIT = 120.0


def _read_all(terminal: int, process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process shows on a terminal until it ends."""
    shown = b""
    end = time.monotonic() + _LIMIT
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        try:
            piece = os.read(terminal, 65_536) if ready else b""
        except OSError:  # Linux says so when the other side is closed
            piece = b""
            ready = []
        shown += piece
        if not piece and process.poll() is not None:
            return shown
    process.kill()
    process.wait()
    return shown


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The Mem0 store that the tutorial makes, written once."""
    pytest.importorskip("mem0")
    folder = tmp_path_factory.mktemp("sample")
    [program] = [one.text for one in snippets(TUTORIAL) if one.language == "python"]
    # in a process of its own: Mem0 reads where it may write when it is imported
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=_variables(folder), check=True)
    return folder / "shop"


@pytest.fixture
def read_page(tmp_path, request) -> Iterator:
    """Give a function that sets the stage of a page and returns its reader."""
    with contextlib.ExitStack() as open_things:

        def prepare(page: str) -> Reader:
            ports = {PORT: str(_free_port()), OTHER_PORT: str(_free_port())}
            folder = _folder(tmp_path, stage_words(page) or [], request)
            if (config := folder / "memxfer.toml").exists():
                config.write_text(config.read_text(encoding="utf-8").replace(PORT, ports[PORT]))
            reader = Reader(folder, _variables(tmp_path), ports)
            open_things.callback(reader.close)
            return reader

        yield prepare


def _folder(tmp_path: Path, words: list[str], request) -> Path:
    """Make the folder that a page says its reader is in."""
    folder = tmp_path / "here"
    if "mem0" in words:  # "your app's folder": a store, and mem0.json that describes it
        shutil.copytree(request.getfixturevalue("sample"), folder)
        return folder
    folder.mkdir()
    if "tutorial" in words:  # what the tutorial leaves behind
        shutil.copytree(request.getfixturevalue("sample"), folder / "shop")
        config = [one.text for one in snippets(TUTORIAL) if one.title == "memxfer.toml"][-1]
        (folder / "memxfer.toml").write_text(config, encoding="utf-8")
    if "checkout" in words:  # the root of a checkout
        (folder / "docs").symlink_to(ROOT / "docs")
    return folder


def _variables(tmp_path: Path) -> dict[str, str]:
    """Return what a new terminal has: the installed commands, no keys, no paths of Python's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("memxfer", "-P -m memxfer.cli "), ("python", "")):
        command = programs / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n', encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    # Mem0 would otherwise write into the home folder, and call its maker.
    mem0 = {"MEM0_DIR": str(tmp_path / "mem0"), "MEM0_TELEMETRY": "False"}
    search = os.pathsep.join((str(programs), os.environ["PATH"]))
    return {**kept, **mem0, "HOME": str(home), "PATH": search, "TERM": "xterm"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
