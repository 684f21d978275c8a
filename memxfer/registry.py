"""Which providers there are: installed ones by entry point, an app's own by `register` or by name."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from memxfer.errors import (
    ConfigError,
    DuplicateProviderError,
    ProviderNotInstalledError,
    UnknownProviderError,
)
from memxfer.spi import MemoryProvider

__all__ = ["GROUP", "ProviderClass", "names", "provider_class", "register", "unregister"]

GROUP = "memxfer.providers"
"""Entry-point group of providers, built in and third-party alike."""

ProviderClass = type[MemoryProvider[Any]]

_is_class_path = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*").fullmatch

_registered: dict[str, ProviderClass] = {}


def register(provider: ProviderClass) -> ProviderClass:
    """Make an app's own provider known under its `name`; usable as a class decorator.

    Raises:
        DuplicateProviderError: Another provider has that name already.
    """
    known = _registered.get(provider.name)
    if known not in (None, provider) or provider.name in _installed():
        raise DuplicateProviderError(f"a provider named {provider.name!r} is registered already")
    _registered[provider.name] = provider
    return provider


def unregister(name: str) -> None:
    """Forget a provider that `register` made known; unknown names are ignored."""
    _registered.pop(name, None)


def names() -> list[str]:
    """Return the names of all providers, sorted."""
    return sorted({*_registered, *_installed()})


def provider_class(name: str) -> ProviderClass:
    """Return the provider class called `name`, or the one at `my_module:MyProvider`.

    Raises:
        UnknownProviderError: None is called so.
        ProviderNotInstalledError: Its module needs a package that is not installed.
        DuplicateProviderError: Two distributions claim the name.
        ConfigError: `my_module:MyProvider` does not lead to a provider.
    """
    if name in _registered:
        return _registered[name]
    if ":" in name:
        if not _is_class_path(name):
            raise ConfigError(f"provider {name!r}: name a class as my_module:MyProvider")
        return _import(name, EntryPoint(name=name, value=name, group=GROUP))
    installed = _installed()
    if name not in installed:
        known = ", ".join(names()) or "none: install memxfer first (pip install -e . in a checkout)"
        raise UnknownProviderError(f"no provider {name!r}; known: {known}")
    return _import(name, installed[name])


def _installed() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise DuplicateProviderError(
                f"provider {point.name!r} is claimed by {_distribution(other)} and {_distribution(point)}; "
                "uninstall one, or name a class: provider = 'module:Class'"
            )
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _import(name: str, point: EntryPoint) -> ProviderClass:
    try:
        loaded: Any = importlib.import_module(point.module)
        for part in point.attr.split("."):
            loaded = getattr(loaded, part)
    except ModuleNotFoundError as error:
        if error.name and f"{point.module}.".startswith(f"{error.name}."):
            raise ConfigError(f"provider {name!r}: no module {error.name!r} can be imported") from error
        raise ProviderNotInstalledError(
            f"provider {name!r} needs the package {error.name!r}; install it"
        ) from error
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"provider {name!r}: {point.module} cannot be imported: {error}") from error
    except AttributeError as error:
        raise ConfigError(f"provider {name!r}: {point.module} has no {point.attr}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, MemoryProvider)):
        raise ConfigError(f"provider {name!r}: {point.value} is not a MemoryProvider class")
    return loaded
