"""What the verbs return; their JSON is the command line's contract."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from memxfer.gaps.report import GapLine

__all__ = ["Counts", "Failure", "JobResult", "JobStatus", "JobSummary"]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JobStatus(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"
    INCOMPLETE = "incomplete"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Counts(_Result):
    """Records by state; all but `listed` add up to `listed`, at any moment.

    Attributes:
        listed: Source records the job knows.
        accepted: Acknowledged by the target, still processing.
        stored: In the target.
        present: In the target already, from an earlier send.
        skipped: Left out by the user's decision.
        rejected: Not sent: the target could never hold them, or they could not be read.
        failed: Refused by the target, or taken and not seen to be stored whole: it failed in processing, it
            kept no memory (`no_memories`) or a part (`partial`), or took fewer turns than were sent
            (`not_proven`). What there is of it stays in the target.
        in_flight: Being sent by the run that is under way; 0 for a job that does not run.
        uncertain: May or may not be in the target.
        gone: Listed once, and no longer in the source when their turn came.
    """

    listed: int = 0
    accepted: int = 0
    stored: int = 0
    present: int = 0
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    in_flight: int = 0
    uncertain: int = 0
    gone: int = 0


class JobResult(_Result):
    """A job's state, after a run or at any moment.

    Attributes:
        ignored: Rows of the source that are no memories, by reason; they are not among the records.
        documents: Documents sent to the target and acknowledged.
        resent: Documents sent more than once.
        losses: Lines of the gap report that touched records, and what the target lost on its side.
        residue: Records whose originals are kept beside the ledger.
        seconds: Time this run took; for `status`, the time of all runs.
        message: One sentence for people: what happened and what to do next. Not part of the JSON.
    """

    job: str
    status: JobStatus
    counts: Counts = Counts()
    ignored: dict[str, int] = {}
    documents: int = 0
    resent: int = 0
    losses: tuple[GapLine, ...] = ()
    residue: int = 0
    seconds: float = 0.0
    records_per_second: float = 0.0
    message: str = Field("", exclude=True)
    residue_path: str = Field("", exclude=True)
    """Where those originals are."""
    filtered: int = Field(0, exclude=True)
    """Records that the selection leaves out, beside those of `counts`."""
    cause: str = Field("", exclude=True)
    """Why it stopped, for the exit code: "", or a word of `StopCause`."""


class Failure(_Result):
    """One record that did not arrive, or that arrived with a warning.

    Attributes:
        id: The source's id.
        key: The document key, if one was made.
        state: The record's state.
        code: A short stable word.
        reason: What the backend or memxfer said, redacted.
        correlation_id: The backend's id of the request.
    """

    id: str
    key: str | None = None
    state: str
    code: str | None = None
    reason: str = ""
    correlation_id: str | None = None


class JobSummary(_Result):
    """One line of `memxfer jobs list`."""

    job: str
    source: str
    target: str
    status: JobStatus
    listed: int
    stored: int
    created_at: str
    running: bool
