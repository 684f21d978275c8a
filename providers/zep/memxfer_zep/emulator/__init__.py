"""The Zep Cloud emulator: a local stand-in, built from public documentation, for rehearsals and tests."""

from .emulator import ZepEmulator
from .settings import EMULATOR_API_KEY, ZepSettings

__all__ = ["EMULATOR_API_KEY", "ZepEmulator", "ZepSettings"]
