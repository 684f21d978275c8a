"""The verbs: each command of the command line is a thin shell over one of these functions."""

from memxfer.migration.assess import diff
from memxfer.migration.endpoints import check, evidence_of
from memxfer.migration.evidence import Claim, ClaimVerdict, ConnectionEvidence
from memxfer.migration.jobs import (
    Holdings,
    export_job,
    failures,
    holdings,
    import_job,
    list_jobs,
    remove_job,
    status,
)
from memxfer.migration.news import note_failure, note_warning
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.migration.planning import check_agreed, free_bytes, plan, read_plan
from memxfer.migration.probing import Leftover, ProbeReport, ProbeSize, ProbeStatus, probe, probe_size
from memxfer.migration.results import Counts, Failure, JobResult, JobStatus, JobSummary
from memxfer.migration.run import migrate, resume

__all__ = [
    "Claim",
    "ClaimVerdict",
    "ConnectionEvidence",
    "Counts",
    "Endpoint",
    "Failure",
    "Holdings",
    "JobResult",
    "JobStatus",
    "JobSummary",
    "Leftover",
    "Observer",
    "Options",
    "ProbeReport",
    "ProbeSize",
    "ProbeStatus",
    "Progress",
    "SilentObserver",
    "StopSignal",
    "check",
    "check_agreed",
    "diff",
    "evidence_of",
    "export_job",
    "failures",
    "free_bytes",
    "holdings",
    "import_job",
    "list_jobs",
    "migrate",
    "note_failure",
    "note_warning",
    "plan",
    "probe",
    "probe_size",
    "read_plan",
    "remove_job",
    "resume",
    "status",
]
