"""The demo's folder, its configuration, and what it tells the person who watches."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from memxfer.cli.demo.children import EmulatorAddress
from memxfer.errors import ConfigError
from memxfer.report.text import duration, plain

__all__ = ["Narrator", "demo_folder", "write_config"]

_KEY = "SYNAP_API_KEY"
_CONFIG = """\
# Written by `memxfer demo`.
[connections.old]
provider = "mem0-oss"
config_file = "{old}"

[connections.new]
provider = "synap"
api_key = "env:{key}"               # here: {value}
base_url = "{url}"
customer_id = "demo-app"
unscoped = "customer"               # memories without a user belong to the customer
undated = "send"
batch_size = 20                     # small, so that the crash comes in the middle

[connections.copy]
provider = "mem0-oss"
config_file = "{copy}"
embedder = "local"                  # no account with an embedder for a demo
"""


class Narrator:
    """Tells the steps, numbered and timed.

    Args:
        console: Where to.
        total: How many steps there will be.
        clock: Seconds that never go back.
    """

    def __init__(self, console: Console, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._total = total
        self._clock = clock
        self._number = 0

    def say(self, text: str) -> None:
        """Write a line, indented below its step."""
        self._console.print(Text(f"     {plain(text)}"), soft_wrap=True)

    def show(self, view: RenderableType) -> None:
        """Write a table or the like, with an empty line on both sides."""
        self._console.print("", view, "", sep="\n")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step; when it is over, say how long it took."""
        self._number += 1
        self._console.print(Text(f"{self._number}/{self._total}  {title}", style="bold"))
        started = self._clock()
        yield
        self._console.print(Text(f"     ({duration(self._clock() - started)})\n", style="dim"))


@contextmanager
def demo_folder(keep: Path | None) -> Iterator[Path]:
    """Give an empty folder: a temporary one, gone at the end, or the one to keep.

    Raises:
        ConfigError: The folder to keep has something in it.
    """
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="memxfer-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigError(f"{keep} is not an empty folder; name a new one with --keep")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.resolve()


def write_config(folder: Path, sample: Path, emulator: EmulatorAddress) -> dict[str, str]:
    """Write `memxfer.toml` and the description of an empty second Mem0 store.

    Args:
        folder: The demo's folder.
        sample: The description of the first store; the paths in it are relative to it.
        emulator: The target.

    Returns:
        The environment variables that the configuration refers to.
    """
    copy = folder / "copy" / sample.name
    copy.parent.mkdir()
    shutil.copyfile(sample, copy)
    text = _CONFIG.format(
        old=sample.relative_to(folder).as_posix(),
        copy=copy.relative_to(folder).as_posix(),
        key=_KEY,
        value=emulator.api_key,
        url=emulator.base_url,
    )
    (folder / "memxfer.toml").write_text(text, encoding="utf-8")
    return {_KEY: emulator.api_key}
