"""What a job and its files may be called."""

from __future__ import annotations

import re

__all__ = ["EVENTS", "LEDGER", "LOCK", "NEW_LEDGER", "NEW_PLAN", "PLAN", "RESIDUE", "ROOM", "is_job_name"]

PLAN = "plan.json"
LEDGER = "ledger.sqlite"
EVENTS = "events.jsonl"
RESIDUE = "residue"
LOCK = "lock"
NEW_PLAN = "plan.tmp"
NEW_LEDGER = "ledger.new"
ROOM = ".probe"

_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_job_name(name: str) -> bool:
    """Tell whether a job, and so its folder, may have this name."""
    return _JOB.fullmatch(name) is not None
