"""A page and the folder that a reader of it would have."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
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

from memxfer.emulation import serve_in_thread

ROOT = Path(__file__).parents[2]
PORT = "8090"
OTHER_PORT = "8091"
KEYS = {
    "MEM0_API_KEY": "m0-local-only-key",
    "MEM0_SERVER_KEY": "mem0_server_emulator_key",
    "SYNAP_API_KEY": "synap_emulator_key",
    "ZEP_API_KEY": "zep_emulator_key",
}
CONFIG = f"""
[connections.old]
provider = "mem0-oss"
config_file = "mem0.json"
[connections.new]
provider = "synap"
api_key = "env:SYNAP_API_KEY"
base_url = "http://127.0.0.1:{PORT}"
customer_id = "docs"
unscoped = "skip"
transport = "http"
batch_size = 5
"""
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
    """Somebody who types in every snippet of a page, in order, in one folder."""

    folder: Path
    variables: dict[str, str]
    port: int
    other_port: int
    background: list[subprocess.Popen[str]] = field(default_factory=list)

    def follow(self, snippet: Snippet) -> None:
        if not snippet.is_run:
            return
        text = snippet.text.replace(PORT, str(self.port)).replace(OTHER_PORT, str(self.other_port))
        if snippet.title:
            (self.folder / snippet.title).write_text(text, encoding="utf-8")
        if snippet.note == "background":
            self._start(text)
        elif snippet.language == "bash":
            self._type(["bash", "-euo", "pipefail", "-c", text], snippet.exit_code)
        elif snippet.title.startswith("test_"):
            self._run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", snippet.title], 0)
        elif snippet.language == "python":
            self._run([sys.executable, "-c", text], 0)

    def _start(self, text: str) -> None:
        command = text.strip().split()
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        )
        self.background.append(process)
        assert "http://127.0.0.1" in process.stdout.readline()

    def _type(self, command: list[str], expected: int) -> None:
        """Run a command at a terminal, and answer yes to whatever it asks."""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                command,
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
        assert process.returncode == expected, f"{command[-1]}\n{shown.decode(errors='replace')}"

    def _run(self, command: list[str], expected: int) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expected, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

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
    """A Mem0 store, written once."""
    pytest.importorskip("mem0")
    folder = tmp_path_factory.mktemp("sample")
    program = (
        "from pathlib import Path; from memxfer_mem0.sample import write_sample_store;"
        "write_sample_store(Path('s'), count=60)"
    )
    # in a process of its own: Mem0 reads where it may write when it is imported
    variables = {**os.environ, "MEM0_DIR": str(folder / "mem0"), "MEM0_TELEMETRY": "False"}
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=variables, check=True)
    return folder / "s"


@pytest.fixture
def read_page(tmp_path, request) -> Iterator:
    """Give a function that sets the stage of a page and returns its reader."""
    with contextlib.ExitStack() as open_things:

        def prepare(page: str) -> Reader:
            words = stage_words(page) or []
            reader = Reader(
                _folder(tmp_path, words, request), _variables(tmp_path), _free_port(), _free_port()
            )
            open_things.callback(reader.close)
            if "emulator" in words:
                open_things.enter_context(_emulator(reader.port))
            if "config" in words:
                text = CONFIG.replace(PORT, str(reader.port))
                (reader.folder / "memxfer.toml").write_text(text, encoding="utf-8")
            return reader

        yield prepare


def _folder(tmp_path: Path, words: list[str], request) -> Path:
    folder = tmp_path / "here"
    if "mem0" in words:
        shutil.copytree(request.getfixturevalue("sample"), folder)
    else:
        folder.mkdir()
    if "notes" in words:
        shutil.copy(ROOT / "docs/examples/text_notes.py", folder)
    if "examples" in words:
        for name in ("chat_loop.py", "swapping_app.py"):
            shutil.copy(ROOT / "docs/examples" / name, folder)
    return folder


def _variables(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("memxfer", "-m memxfer.cli "), ("python", "")):
        command = programs / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n', encoding="utf-8")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    home = tmp_path / "home"
    home.mkdir()
    more = {"HOME": str(home), "MEM0_DIR": str(tmp_path / "mem0"), "MEM0_TELEMETRY": "False"}
    paths = os.pathsep.join(filter(None, (str(tmp_path / "here"), os.environ.get("PYTHONPATH"))))
    search = os.pathsep.join((str(programs), os.environ["PATH"]))
    inherited = {name: value for name, value in os.environ.items() if name != "MEMXFER_CONFIG"}
    return {**inherited, **more, "PATH": search, "PYTHONPATH": paths, **KEYS}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _emulator(port: int) -> Iterator[None]:
    from memxfer_synap.emulator import SynapEmulator

    with contextlib.closing(SynapEmulator()) as emulator, serve_in_thread(emulator, port=port):
        yield
