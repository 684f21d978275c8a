"""The verbs: each command of the command line is a thin shell over one of these functions."""

from memxfer.migration.assess import diff
from memxfer.migration.endpoints import check
from memxfer.migration.jobs import export_job, failures, import_job, list_jobs, remove_job, status
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.migration.results import Counts, Failure, JobResult, JobStatus, JobSummary
from memxfer.migration.run import DEFAULT_STATE_DIR, migrate, resume

__all__ = [
    "DEFAULT_STATE_DIR",
    "Counts",
    "Endpoint",
    "Failure",
    "JobResult",
    "JobStatus",
    "JobSummary",
    "Observer",
    "Options",
    "Progress",
    "SilentObserver",
    "StopSignal",
    "check",
    "diff",
    "export_job",
    "failures",
    "import_job",
    "list_jobs",
    "migrate",
    "remove_job",
    "resume",
    "status",
]
