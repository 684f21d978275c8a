import pytest

from memxfer import errors
from memxfer.cli import exits
from memxfer.engine.control import StopCause
from memxfer.migration.results import Counts, JobResult, JobStatus

ALL_ERRORS = [getattr(errors, name) for name in errors.__all__]

CODES = {
    errors.MemxferError: 1,
    errors.ConfigError: 2,
    errors.UnknownConnectionError: 2,
    errors.UnknownProviderError: 2,
    errors.ProviderNotInstalledError: 2,
    errors.DuplicateProviderError: 2,
    errors.SecretError: 2,
    errors.LedgerError: 2,
    errors.JobNotFoundError: 2,
    errors.JobExistsError: 2,
    errors.JobLockedError: 2,
    errors.FingerprintMismatchError: 2,
    errors.UnsupportedOperationError: 2,
    errors.DecisionRequiredError: 3,
    errors.InterruptedRunError: 130,
    errors.ProviderError: 4,
    errors.TransientError: 4,
    errors.RateLimitedError: 4,
    errors.UnavailableError: 4,
    errors.NotReadyError: 4,
    errors.FatalError: 4,
    errors.AuthError: 4,
    errors.QuotaExceededError: 4,
    errors.CursorExpiredError: 4,
    errors.AmbiguousError: 5,
    errors.RecordError: 1,
    errors.BatchRefusedError: 1,
}


def test_every_error_class_of_memxfer_has_its_code_in_this_table():
    assert set(ALL_ERRORS) == set(CODES)


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_ends_the_command_with_its_code(kind):
    assert exits.code_of_error(kind("why")) == CODES[kind]


@pytest.mark.parametrize(
    ("status", "cause", "counts", "code"),
    [
        (JobStatus.COMPLETED, "", {}, 0),
        (JobStatus.COMPLETED, "", {"skipped": 3}, 0),
        (JobStatus.COMPLETED, "", {"gone": 1}, 0),
        (JobStatus.COMPLETED_WITH_FAILURES, "", {"failed": 1}, 1),
        (JobStatus.COMPLETED_WITH_FAILURES, "", {"rejected": 1}, 1),
        (JobStatus.COMPLETED, "", {"failed": 1}, 1),
        (JobStatus.FAILED, "", {}, 1),
        (JobStatus.COMPLETED_WITH_FAILURES, "", {"uncertain": 1, "failed": 1}, 5),
        (JobStatus.INCOMPLETE, "", {"failed": 1}, 5),
        (JobStatus.RUNNING, "", {}, 5),
        (JobStatus.PAUSED, "", {}, 5),
        (JobStatus.PAUSED, "auth", {}, 4),
        (JobStatus.PAUSED, "quota", {"failed": 1}, 4),
        (JobStatus.PAUSED, "unavailable", {}, 4),
        (JobStatus.PAUSED, "fatal", {}, 4),
        (JobStatus.FAILED, "ledger", {}, 5),
        (JobStatus.FAILED, "bug", {}, 1),
        (JobStatus.FAILED, "decision", {"uncertain": 1}, 3),
        (JobStatus.INTERRUPTED, "", {"failed": 1, "uncertain": 1}, 130),
        (JobStatus.PAUSED, "interrupted", {}, 130),
    ],
)
def test_a_result_gives_the_first_code_that_applies(status, cause, counts, code):
    result = JobResult(job="j", status=status, counts=Counts(**counts), cause=cause)
    assert exits.code_of_result(result) == code


def test_every_cause_the_engine_knows_gives_something_else_than_success():
    for cause in StopCause:
        result = JobResult(job="j", status=resting_status_of(cause), cause=cause.value)
        assert exits.code_of_result(result) != exits.CLEAN


def resting_status_of(cause):
    return JobStatus.INCOMPLETE if cause is StopCause.UNCERTAIN else JobStatus.FAILED


def test_every_status_a_job_can_have_gives_a_code_with_a_meaning():
    codes = {exits.code_of_result(JobResult(job="j", status=status)) for status in JobStatus}
    assert codes <= set(exits.MEANINGS)
