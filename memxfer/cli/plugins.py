"""Emulators and sample stores, which providers bring along under entry points of their own."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from memxfer.errors import ProviderNotInstalledError, UnknownProviderError

__all__ = ["EMULATORS", "SAMPLES", "load"]

EMULATORS = "memxfer.emulators"
"""Entry-point group: provider name to its emulator class."""

SAMPLES = "memxfer.samples"
"""Entry-point group: provider name to the function that writes a store to try things on."""

_EXTRAS = {EMULATORS: "emulate", SAMPLES: "all"}


def load(group: str, name: str) -> Any:
    """Return what a provider called `name` offers under `group`.

    Raises:
        UnknownProviderError: No provider of that name offers it.
        ProviderNotInstalledError: A package it needs is missing.
    """
    offers = {point.name: point for point in entry_points(group=group)}
    if name not in offers:
        known = ", ".join(sorted(offers)) or "none"
        raise UnknownProviderError(f"{name!r} has nothing under {group}; those that have: {known}")
    try:
        return offers[name].load()
    except ModuleNotFoundError as error:
        raise ProviderNotInstalledError(
            f"{name} needs the package {error.name!r}: pip install 'memxfer[{_EXTRAS[group]}]'"
        ) from error
