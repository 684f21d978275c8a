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

__all__ = ["DEFAULT_PATH", "Config", "Connection", "load_config", "template"]

DEFAULT_PATH = "memxfer.toml"
_TOP = frozenset({"connections"})


@dataclass(frozen=True, slots=True)
class Connection:
    """One configured provider, not opened.

    Attributes:
        name: The name it has in the configuration, or the location it was named by.
        provider: The provider's name.
        settings: The block as written; secrets still as references.
        origin: The file it stands in, for messages.
    """

    name: str
    provider: str
    settings: Mapping[str, Any]
    origin: str

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
        values = {**self.settings, "provider": self.provider, **self._secrets(kind.config_model)}
        try:
            config = kind.config_model.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, self)) from None
        return kind(config, clock=clock)

    def _secrets(self, model: type[BaseModel]) -> dict[str, str]:
        found = {}
        for name in _secret_fields(model):
            reference = self.settings.get(name)
            if isinstance(reference, str):
                try:
                    found[name] = secrets.resolve(reference)
                except SecretError as error:
                    raise SecretError(
                        f"{self.origin}: [connections.{self.name}]: {name!r}: {error}"
                    ) from error
        return found

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
    named = path or os.environ.get("MEMXFER_CONFIG")
    file = Path(named or DEFAULT_PATH)
    if not named and not file.exists():
        return Config()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration file {file}; `memxfer init` writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    return _read(data, file)


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
        settings = {key: _relative(key, value, file) for key, value in block.items() if key != "provider"}
        connections[name] = Connection(name, block["provider"], settings, str(file))
    return Config(connections, file)


def _relative(key: str, value: Any, file: Path) -> Any:
    """Make the paths of a file relative to that file, not to wherever memxfer was started."""
    if key not in ("path", "config_file") or not isinstance(value, str):
        return value
    try:
        return str(file.parent / Path(value).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"{file}: {key!r}: the home folder of {value!r} is not known") from error


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
