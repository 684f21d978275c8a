"""What a job moves, agreed once; and what moving it would take.

The verb `memxfer.plan(...)` has the name of this package: called, the package is the verb.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from memxfer.plan.forecast import Forecast, Forecaster
from memxfer.plan.model import JobPlan, PlanEnd, PlanVersionError

__all__ = ["Forecast", "Forecaster", "JobPlan", "PlanEnd", "PlanVersionError"]


class _Verb(ModuleType):
    """This package, which can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what `memxfer.migration.plan` does; see there."""
        # By name: the verbs are above this package, and come with the first call only.
        return importlib.import_module("memxfer.migration").plan(*args, **kwargs)


sys.modules[__name__].__class__ = _Verb
