"""The plan that a job keeps: in `plan.json`, and in its ledger, where each resume compares the two."""

from __future__ import annotations

from dataclasses import dataclass

from memxfer.errors import FingerprintMismatchError, LedgerError
from memxfer.ledger import JobFolder, inspect
from memxfer.plan import JobPlan, PlanVersionError

__all__ = ["KeptPlan", "kept_plan"]


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """What a job moves.

    Attributes:
        plan: The plan.
        trouble: Why `plan.json` could not be read, where the plan is the ledger's copy; else empty.
    """

    plan: JobPlan
    trouble: str = ""


def kept_plan(folder: JobFolder) -> KeptPlan:
    """Return the plan of a job; where `plan.json` is missing or damaged, the ledger's copy of it.

    Raises:
        FingerprintMismatchError: The ledger is of another job than `plan.json`.
        LedgerError: The ledger cannot be read, or neither of the two holds the plan.
    """
    noted = _noted(folder)
    try:
        plan = _written(folder)
    except FileNotFoundError:
        return KeptPlan(noted, f"{folder.plan_path} is missing")
    except OSError as error:
        return KeptPlan(noted, f"{folder.plan_path} cannot be read ({error.strerror})")
    except PlanVersionError:
        raise
    except LedgerError as error:
        return KeptPlan(noted, str(error))
    if (plan.job, plan.anywhere().fingerprint()) != (noted.job, noted.anywhere().fingerprint()):
        raise FingerprintMismatchError(
            f"the ledger {folder.ledger_path} belongs to another job than plan.json beside it: it is of job "
            f"{noted.job} ({_ends(noted)}), the plan of job {plan.job} ({_ends(plan)}); put back the file "
            f"that was replaced. Without it, `memxfer jobs rm {folder.job}` removes the job"
        )
    return KeptPlan(plan)


def _written(folder: JobFolder) -> JobPlan:
    text = folder.plan_path.read_bytes()
    if not text.strip():
        raise LedgerError(f"{folder.plan_path} is empty")
    return JobPlan.read(text, folder.job)


def _noted(folder: JobFolder) -> JobPlan:
    text = inspect.last_plan(folder.ledger_path)
    if text is None:
        raise LedgerError(
            f"the ledger {folder.ledger_path} holds no plan: it is not one that a job has used; put the "
            f"job's own back. Without it, `memxfer jobs rm {folder.job}` removes the job"
        )
    return JobPlan.read(text, folder.job)


def _ends(plan: JobPlan) -> str:
    return f"{plan.source.connection} to {plan.target.connection}"
