"""memxfer moves the memories of AI agents between memory backends and proves what arrived.

Everything an application needs is here; names load when they are first used, so that importing
the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memxfer.client import MemoryClient, SwappableClient, SyncMemoryClient, capability_gaps
    from memxfer.config import Config, load_config
    from memxfer.errors import MemxferError
    from memxfer.migration import (
        JobResult,
        JobStatus,
        Options,
        ProbeReport,
        StopSignal,
        check,
        diff,
        failures,
        list_jobs,
        migrate,
        plan,
        probe,
        resume,
        status,
    )
    from memxfer.models import MemoryRecord, Scope
    from memxfer.registry import register

__version__ = "0.1.0"

_HOMES = {
    "Config": "memxfer.config",
    "JobResult": "memxfer.migration",
    "JobStatus": "memxfer.migration",
    "MemoryClient": "memxfer.client",
    "MemoryRecord": "memxfer.models",
    "MemxferError": "memxfer.errors",
    "Options": "memxfer.migration",
    "ProbeReport": "memxfer.migration",
    "Scope": "memxfer.models",
    "StopSignal": "memxfer.migration",
    "SwappableClient": "memxfer.client",
    "SyncMemoryClient": "memxfer.client",
    "capability_gaps": "memxfer.client",
    "check": "memxfer.migration",
    "diff": "memxfer.migration",
    "failures": "memxfer.migration",
    "list_jobs": "memxfer.migration",
    "load_config": "memxfer.config",
    "migrate": "memxfer.migration",
    "probe": "memxfer.migration",
    "register": "memxfer.registry",
    "resume": "memxfer.migration",
    "status": "memxfer.migration",
}

__all__ = [
    "Config",
    "JobResult",
    "JobStatus",
    "MemoryClient",
    "MemoryRecord",
    "MemxferError",
    "Options",
    "ProbeReport",
    "Scope",
    "StopSignal",
    "SwappableClient",
    "SyncMemoryClient",
    "__version__",
    "capability_gaps",
    "check",
    "diff",
    "failures",
    "list_jobs",
    "load_config",
    "migrate",
    "plan",
    "probe",
    "register",
    "resume",
    "status",
]


def __getattr__(name: str) -> Any:
    if name == "plan":
        return importlib.import_module(
            "memxfer.plan"
        )  # a package of that name, which is the verb when called
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'memxfer' has no attribute {name!r}")
