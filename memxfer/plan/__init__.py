"""What a job moves, agreed once; and what moving it would take."""

from memxfer.plan.forecast import Forecast, Forecaster
from memxfer.plan.model import JobPlan, PlanEnd, PlanVersionError

__all__ = ["Forecast", "Forecaster", "JobPlan", "PlanEnd", "PlanVersionError"]
