"""The Synap emulator: a local stand-in, built from public documentation, for rehearsals and tests."""

from .emulator import SynapEmulator
from .settings import EMULATOR_API_KEY, Retrieval, SynapKey, SynapSettings

__all__ = ["EMULATOR_API_KEY", "Retrieval", "SynapEmulator", "SynapKey", "SynapSettings"]
