"""`memxfer.toml`: named connections, each one configured provider."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from memxfer import registry, secrets
from memxfer.errors import ConfigError, SecretError, UnknownConnectionError
from memxfer.spi import Clock, MemoryProvider
from memxfer.spi.settings import FOLDER

__all__ = [
    "DEFAULT_PATH",
    "STATE_FOLDER",
    "Config",
    "Connection",
    "load_config",
    "read_text",
    "state_dir_of",
    "template",
]

DEFAULT_PATH = "memxfer.toml"
STATE_FOLDER = ".memxfer"
"""Folder of the jobs, and of what was learned about connections, beside the configuration file."""
_CONFIG = "MEMXFER_CONFIG"
_STATE_DIR = "MEMXFER_STATE_DIR"
_LARGEST = 16 * 2**20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TOP = frozenset({"connections"})
_PATHS = frozenset({"path", "config_file"})
"""Fields that are paths whatever their type is."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One configured provider, not opened.

    Attributes:
        name: The name it has in the configuration, or the location it was named by.
        provider: The provider's name.
        settings: The block as written; secrets still as references.
        origin: The file it stands in, for messages.
        folder: Where its relative paths count from; `None`: the working folder.
    """

    name: str
    provider: str
    settings: Mapping[str, Any]
    origin: str
    folder: Path | None = None

    def open(
        self, *, clock: Clock | None = None, kind: type[MemoryProvider[Any]] | None = None
    ) -> MemoryProvider[Any]:
        """Build the provider; nothing is contacted before its `connect`.

        Args:
            clock: Time.
            kind: Its class, where that is known already: looking through what is installed takes a while.

        Raises:
            ConfigError: A field is unknown, missing or of the wrong type; names file and field.
            SecretError: A reference does not resolve.
        """
        kind = kind or registry.provider_class(self.provider)
        model = kind.config_model
        values = {**self.settings, **self._paths(model), "provider": self.provider, **self._secrets(model)}
        try:
            config = model.model_validate(values, context={FOLDER: self.folder})
        except ValidationError as error:
            raise ConfigError(_explain(error, self)) from None
        return kind(config, clock=clock)

    def _secrets(self, model: type[BaseModel]) -> dict[str, str]:
        found = {}
        for name in _secret_fields(model):
            reference = self.settings.get(name)
            if isinstance(reference, str):
                try:
                    found[name] = secrets.resolve(reference, folder=self.folder)
                except SecretError as error:
                    raise SecretError(
                        f"{self.origin}: [connections.{self.name}]: {name!r}: {error}"
                    ) from error
        return found

    def _paths(self, model: type[BaseModel]) -> dict[str, str]:
        """Make the paths of a file relative to that file, not to wherever memxfer was started."""
        if self.folder is None:
            return {}
        values = {
            name: self.settings.get(name)
            for name, info in model.model_fields.items()
            if name in _PATHS or _is_path(info.annotation)
        }
        return {
            name: str(self.folder / _expanded(value, f"{self.origin}: [connections.{self.name}]: {name!r}"))
            for name, value in values.items()
            if isinstance(value, str) and value
        }

    def literal_secrets(self) -> list[str]:
        """Return the names of fields that hold a secret itself instead of a reference to it."""
        kind = registry.provider_class(self.provider)
        return [
            name
            for name in _secret_fields(kind.config_model)
            if isinstance(self.settings.get(name), str) and not secrets.is_reference(self.settings[name])
        ]


@dataclass(frozen=True, slots=True)
class Config:
    """All connections of one file."""

    connections: Mapping[str, Connection] = field(default_factory=dict)
    path: Path | None = None

    def connection(self, name: str) -> Connection:
        """Return the connection called `name`, or make one of `PROVIDER:LOCATION`.

        Raises:
            UnknownConnectionError: No such connection.
            ConfigError: The provider takes no location.
        """
        if name in self.connections:
            return self.connections[name]
        provider, colon, location = name.partition(":")
        if colon and provider in registry.names():
            kind = registry.provider_class(provider)
            return Connection(name, provider, kind.from_location(location), "the command line")
        where = self.path or f"{DEFAULT_PATH} (not found: run `memxfer init`, or name a file with --config)"
        known = ", ".join(sorted(self.connections)) or "none"
        raise UnknownConnectionError(f"no connection {name!r} in {where}; known: {known}")


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read a configuration file.

    Args:
        path: The file; default: `$MEMXFER_CONFIG`, then `memxfer.toml` here, if it is there.

    Raises:
        ConfigError: Not there, not TOML, or not of the expected form.
    """
    file = _config_file(path)
    if file is None:
        return Config()
    try:
        data = tomllib.loads(read_text(file))
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration file {file}; `memxfer init` writes one") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    return _read(data, file)


def state_dir_of(
    given: str | os.PathLike[str] | None = None, *, config: Config | str | os.PathLike[str] | None = None
) -> Path:
    """Return the absolute path of the state folder: where jobs are, and what was learned of connections.

    It is the folder given; else `$MEMXFER_STATE_DIR`; else `.memxfer` beside the configuration file; else,
    where there is no such file, `.memxfer` in the working folder. Writes nothing, and reads no file.

    Args:
        given: The folder that the caller names.
        config: The configuration, or its file; default: the file of `load_config()`.

    Raises:
        ConfigError: The path begins with `~`, and there is no such home folder.
    """
    named = given or os.environ.get(_STATE_DIR)
    if named:
        return _expanded(named, _STATE_DIR if given is None else "the state folder").absolute()
    file = config.path if isinstance(config, Config) else _config_file(config)
    return (file.parent if file else Path.cwd()) / STATE_FOLDER


def _config_file(path: str | os.PathLike[str] | None) -> Path | None:
    named = path or os.environ.get(_CONFIG)
    if named:
        return _expanded(named, "the configuration file").absolute()
    file = Path(DEFAULT_PATH).absolute()
    return file if file.exists() else None


def _expanded(path: str | os.PathLike[str], what: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{what}: the home folder of {os.fspath(path)!r} is not known") from error


def read_text(file: Path) -> str:
    """Return the text of a file that a person wrote: UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: It is not there.
        ConfigError: It cannot be read, or has another encoding, which the message names.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or type(error).__name__}") from error
    if len(data) > _LARGEST:
        raise ConfigError(f"{file} cannot be read: it has over {_LARGEST:,} bytes")
    if data.startswith(_UTF16) or b"\0" in data[:2]:
        raise ConfigError(f"{file} cannot be read: it is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file} cannot be read: line {line} is not UTF-8; save it as UTF-8") from error


def _read(data: Mapping[str, Any], file: Path) -> Config:
    unknown = data.keys() - _TOP
    if unknown:
        raise ConfigError(f"{file}: unknown section [{min(unknown)}]; known: [connections.NAME]")
    blocks = data.get("connections", {})
    if not isinstance(blocks, dict):
        raise ConfigError(f"{file}: write each connection as a block [connections.NAME]")
    connections = {}
    for name, block in blocks.items():
        if not isinstance(block, dict) or not isinstance(block.get("provider"), str):
            raise ConfigError(f'{file}: [connections.{name}] needs provider = "NAME"')
        settings = {key: value for key, value in block.items() if key != "provider"}
        connections[name] = Connection(name, block["provider"], settings, str(file), file.parent)
    return Config(connections, file)


def _is_path(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, Path)
    return any(_is_path(part) for part in get_args(annotation))


def _secret_fields(model: type[BaseModel]) -> list[str]:
    return [name for name, info in model.model_fields.items() if _is_secret(info.annotation)]


def _is_secret(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_secret(part) for part in get_args(annotation))
    return annotation is SecretStr


def _explain(error: ValidationError, connection: Connection) -> str:
    """Say which field of which block is wrong and how, without quoting values: they may be secrets."""
    problems = []
    for detail in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            problems.append(f"unknown field {name!r}")
        elif detail["type"] == "missing":
            problems.append(f"{name!r} is missing")
        else:
            problems.append(f"{name!r}: {detail['msg'].removeprefix('Value error, ')}")
    return (
        f"{connection.origin}: [connections.{connection.name}]: {'; '.join(problems)}. "
        f"`memxfer providers show {connection.provider}` lists the fields."
    )


def template() -> str:
    """Return the commented text that `memxfer init` writes."""
    return _TEMPLATE


_TEMPLATE = """\
# memxfer.toml: the memory backends you move between. Try it on:
#   memxfer providers check old
#   memxfer diff old new
#   memxfer migrate old new

[connections.old]
provider = "mem0-oss"
config_file = "mem0.json"           # the dict that your app gives to Memory.from_config, as JSON or YAML

[connections.new]
provider = "synap"
api_key = "env:SYNAP_API_KEY"       # a reference: env:NAME or file:PATH; the key itself stays out of here
# base_url = "http://127.0.0.1:8090" # a local stand-in: memxfer emulate synap --port 8090
# transport = "http"                # "sdk" (default): the vendor's SDK; "http": the same JSON, twice as fast
# customer_id = "my-app"            # B2B instances: the customer that user memories belong to
# unscoped = "skip"                 # memories without a user: skip | customer | client | assign:USER
# max_rate = 8                      # most requests per second
"""
