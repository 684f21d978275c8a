"""The Mem0 server emulator: a local stand-in, built from public documentation, for rehearsals and tests."""

from .emulator import Mem0ServerEmulator
from .settings import EMULATOR_API_KEY, Mem0ServerSettings

__all__ = ["EMULATOR_API_KEY", "Mem0ServerEmulator", "Mem0ServerSettings"]
