"""The demo's child processes: real commands, one emulator, and a real SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from memxfer.cli.demo.failing import DemoError

__all__ = ["Commands", "EmulatorAddress", "environment"]

_STOP_SECONDS = 10.0
_WORDS = 4
"""Lines of a failed command that are shown."""

_GLANCE_SECONDS = 0.01
"""Between two looks at a job that is to be killed."""


@dataclass(frozen=True)
class EmulatorAddress:
    """Where an emulator answers, and the key it takes."""

    base_url: str
    api_key: str


@dataclass(frozen=True)
class Commands:
    """Runs `memxfer` in a folder, as a user would.

    Attributes:
        folder: Where the commands run.
        environment: Variables that they get besides this process's own.
    """

    folder: Path
    environment: Mapping[str, str]

    def result(self, *arguments: str) -> dict[str, Any]:
        """Run a command to its end and return its JSON.

        Raises:
            DemoError: Its exit code is not 0.
        """
        with self._running(*arguments, "--json", stdout=subprocess.PIPE) as child:
            printed, _ = child.communicate()
        if child.returncode:
            ended = f"`memxfer {' '.join(arguments)}` ended with exit code {child.returncode}"
            raise DemoError(f"{ended}\n{self._last_words()}")
        answer: dict[str, Any] = json.loads(printed)
        return answer

    def kill_when(self, is_time: Callable[[], bool], *arguments: str) -> None:
        """Start a command and end it with SIGKILL as soon as `is_time` says so.

        Raises:
            DemoError: It ended by itself before that.
        """
        with self._running(*arguments, stdout=subprocess.DEVNULL) as child:
            while not is_time():
                if child.poll() is not None:
                    raise DemoError(
                        f"the job ended (exit code {child.returncode}) before it could be killed\n"
                        f"{self._last_words()}"
                    )
                time.sleep(_GLANCE_SECONDS)
            child.kill()

    @contextmanager
    def emulator(self, provider: str) -> Iterator[EmulatorAddress]:
        """Run an emulator on a free port until the block ends."""
        with self._running("emulate", provider, "--port", "0", "--json", stdout=subprocess.PIPE) as child:
            yield _address(child.stdout)

    @contextmanager
    def _running(self, *arguments: str, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command; whatever happens, it has ended when the block has."""
        line = self._line(*arguments)
        variables = self._variables()
        with self._log.open("ab") as log:
            child = subprocess.Popen(line, cwd=self.folder, env=variables, stdout=stdout, stderr=log)  # noqa: S603 - ourselves
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout:
                child.stdout.close()

    @property
    def _log(self) -> Path:
        return self.folder / "demo.log"

    def _last_words(self) -> str:
        """Return the end of what the commands wrote to stderr."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_WORDS:])

    def _variables(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "MEMXFER_CONFIG"}
        return {**inherited, **self.environment}

    def _line(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "memxfer.cli", *arguments]


def _address(stdout: IO[bytes] | None) -> EmulatorAddress:
    """Read the first line of an emulator: where it listens. It comes once connections are accepted."""
    line = stdout.readline() if stdout else b""
    if not line:
        raise DemoError("the emulator did not start; `memxfer emulate synap --port 0` shows why")
    told = json.loads(line)
    return EmulatorAddress(told["base_url"], told["api_key"])


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that keep what Mem0 writes at import in the demo's folder."""
    return {"MEM0_DIR": str(folder / "mem0"), "MEM0_TELEMETRY": "False"}
