"""The Mem0 Platform emulator: a local stand-in, built from public documentation, for rehearsals and tests."""

from .emulator import Mem0PlatformEmulator
from .settings import EMULATOR_API_KEY, Mem0PlatformSettings

__all__ = ["EMULATOR_API_KEY", "Mem0PlatformEmulator", "Mem0PlatformSettings"]
