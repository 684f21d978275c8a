"""Writes the parts of the documentation that the code knows better: commands, settings, capabilities.

`python docs/generate.py` rewrites what stands between `<!-- generated: NAME -->` and
`<!-- /generated -->` in every page; `--check` writes nothing and fails when a page is out of date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer.main

from memxfer import errors, registry
from memxfer.capabilities import Dimension, Level
from memxfer.cli import exits
from memxfer.cli.app import build
from memxfer.cli.session import GLOBAL_OPTIONS
from memxfer.report.errors import CODES
from memxfer.report.providers import roles, setting_rows
from memxfer.spi import ConnectionConfig, RemoteConfig

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "providers/*/README.md")
_REGION = re.compile(r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
# Enough to build each provider: capabilities are declared, so nothing is opened.
_BLOCKS: dict[str, dict[str, Any]] = {
    "archive": {"path": "backup"},
    "graphiti": {"path": "graph.kuzu"},
    "mem0": {"api_key": "key"},
    "mem0-oss": {"memory": {}},
    "mem0-server": {"api_key": "key", "base_url": "http://127.0.0.1:8888"},
    "memory": {},
    "synap": {"api_key": "key"},
    "zep": {"api_key": "key"},
}
_OF_ALL = {parameter.name for parameter in GLOBAL_OPTIONS}


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`" if text and text != "-" else text


# -- the command line -----------------------------------------------------------------------------


def commands() -> str:
    """Return every command with its arguments, options and examples."""
    program = typer.main.get_command(build())
    return "\n".join(_sections("memxfer", program))


def global_options() -> str:
    """Return the options that every command takes."""
    program = typer.main.get_command(build())
    return _parameters(parameter for parameter in program.params if parameter.name in _OF_ALL)


def _sections(name: str, command: Any) -> Iterator[str]:
    members = getattr(command, "commands", None)
    if members:
        for member, below in members.items():
            yield from _sections(f"{name} {member}", below)
        return
    own = [parameter for parameter in command.params if parameter.name not in _OF_ALL]
    arguments = " ".join(p.metavar for p in own if p.param_type_name == "argument")
    yield f"## `{name}`\n"
    yield f"{command.help}\n"
    yield f"```text\n{' '.join(part for part in (name, '[OPTIONS]', arguments) if part)}\n```\n"
    if own:
        yield _parameters(own)
    if command.epilog:
        examples = [line for line in command.epilog.split("\n\n") if line.startswith("memxfer")]
        yield "For example:\n\n```text\n" + "\n".join(examples) + "\n```\n"


def _parameters(parameters: Iterable[Any]) -> str:
    return table(("", "meaning", "default"), (_parameter(parameter) for parameter in parameters))


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`", parameter.help, "required"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    value = f" `{parameter.metavar}`" if parameter.metavar else ""
    return names + value, parameter.help, _option_default(parameter)


def _option_default(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, False, 0, (), []) or callable(default) else f"`{default}`"


# -- settings and providers -----------------------------------------------------------------------


def common_settings() -> str:
    """Return the settings that every connection has."""
    return _settings(ConnectionConfig)


def remote_settings() -> str:
    """Return the settings that only connections across the network have."""
    known = {row[0] for row in setting_rows(ConnectionConfig)}
    return _settings(RemoteConfig, without=known)


def _settings(model: Any, *, without: Iterable[str] = ()) -> str:
    rows = (row for row in setting_rows(model) if row[0] not in without)
    cells = ((_code(name), kind, _code(default), meaning) for name, kind, default, meaning in rows)
    return table(("setting", "type", "default", "meaning"), cells)


def provider_list() -> str:
    """Return the providers that come with memxfer."""
    kinds = [registry.provider_class(name) for name in _BLOCKS]
    return table(("provider", "can be", "what it is"), ((f"`{k.name}`", roles(k), k.summary) for k in kinds))


def provider_settings() -> str:
    """Return the own settings of each provider."""
    known = {row[0] for model in (ConnectionConfig, RemoteConfig) for row in setting_rows(model)}
    parts = []
    for name in _BLOCKS:
        model = registry.provider_class(name).config_model
        parts.append(f"### `{name}`\n\n{_settings(model, without=known)}")
    return "\n".join(parts)


def capabilities() -> str:
    """Return what each provider gives and takes, dimension by dimension."""
    declared = [(name, _declared(name)) for name in _BLOCKS]
    rows = []
    for dimension in Dimension:
        levels = [_levels(capability, dimension) for _, capability in declared]
        if any(level != "-" for level in levels):
            rows.append((dimension.value.replace("_", " "), *levels))
    return table(("dimension", *(f"`{name}`" for name, _ in declared)), rows)


def _declared(name: str) -> Any:
    kind = registry.provider_class(name)
    block = {"provider": name, **_BLOCKS[name]}
    return kind(kind.config_model.model_validate(block)), kind


def _levels(declared: Any, dimension: Dimension) -> str:
    provider, kind = declared
    channel = provider.capabilities().channel(dimension)
    words = []
    if kind.is_source() and channel.read:
        words.append(f"gives: {channel.read.name.lower()}")
    if kind.is_target() and channel.write:
        words.append(f"takes: {channel.write.name.lower()}")
    return "; ".join(words) or "-"


def losses(name: str) -> str:
    """Return what one provider gives and takes whole, and a table of what it does not."""
    provider, kind = _declared(name)
    channels = [(one, provider.capabilities().channel(one)) for one in Dimension]
    said = []
    if kind.is_source():
        said.append(f"**Read whole:** {_whole(channels, 'read')}.\n")
    if kind.is_target():
        said.append(f"**Written whole:** {_whole(channels, 'write')}.\n")
    rows = [
        (one.value.replace("_", " "), *_sides(kind, channel), channel.note)
        for one, channel in channels
        if channel.note or set(_sides(kind, channel)) - {"-"} not in ({"whole"}, {"no"})
    ]
    return "\n".join([*said, table(("dimension", "read", "written", ""), rows)])


def _whole(channels: Iterable[tuple[Dimension, Any]], side: str) -> str:
    names = [one.value for one, channel in channels if getattr(channel, side) is Level.NATIVE]
    return ", ".join(name.replace("_", " ") for name in names) or "nothing"


def _sides(kind: Any, channel: Any) -> tuple[str, str]:
    words = {Level.NATIVE: "whole", Level.LOSSY: "in part", Level.ENVELOPE: "in metadata", Level.NONE: "no"}
    return (
        words[channel.read] if kind.is_source() else "-",
        words[channel.write] if kind.is_target() else "-",
    )


# -- errors ---------------------------------------------------------------------------------------


def exit_codes() -> str:
    """Return what each exit code tells."""
    return table(("code", "meaning"), ((str(code), text) for code, text in exits.MEANINGS.items()))


def error_tree() -> str:
    """Return the tree of error classes, as the module draws it."""
    found = re.search(r"```\n(.*?)```", errors.__doc__ or "", re.DOTALL)
    return f"```text\n{found.group(1) if found else ''}```\n"


def error_table() -> str:
    """Return each error class, when it is raised and the exit code it gives."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    rows = ((f"`{kind.__name__}`", _first_line(kind), str(exits.code_of_error(kind("")))) for kind in kinds)
    return table(("error", "when", "exit code"), rows)


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


# -- the example ----------------------------------------------------------------------------------


def example_provider() -> str:
    """Return the provider of CONTRIBUTING.md."""
    source = (ROOT / "docs/examples/text_notes.py").read_text(encoding="utf-8")
    return f"```python\n{source}```\n"


def error_codes() -> str:
    """Return the codes of errors that no class stands for."""
    return table(("code", "when"), ((f"`{code}`", text) for code, text in CODES.items()))


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "global-options": global_options,
    "common-settings": common_settings,
    "remote-settings": remote_settings,
    "provider-list": provider_list,
    "provider-settings": provider_settings,
    "capabilities": capabilities,
    "exit-codes": exit_codes,
    "error-tree": error_tree,
    "error-table": error_table,
    "error-codes": error_codes,
    "example-provider": example_provider,
}
"""What may be generated, by the name a page asks for."""
PARTS |= {f"losses-{name}": partial(losses, name) for name in _BLOCKS}


def render(page: str) -> str:
    """Return a page with its generated parts as they should be."""
    return _REGION.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", page)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are out of date."""
    stale = []
    for pattern in PAGES:
        for file in sorted(ROOT.glob(pattern)):
            before = file.read_text(encoding="utf-8")
            after = render(before)
            if before != after:
                stale.append(file.relative_to(ROOT).as_posix())
                if "--check" not in arguments:
                    file.write_text(after, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{'out of date' if '--check' in arguments else 'wrote'}: {name}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
