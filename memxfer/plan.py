"""What a job moves: agreed once, fingerprinted, and the same on every resume."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from memxfer.errors import FingerprintMismatchError, LedgerError
from memxfer.gaps.report import GapLine
from memxfer.ids import fingerprint
from memxfer.spi import StoreIdentity

__all__ = ["JobPlan", "PlanEnd"]

PLAN_FORMAT: Literal[1] = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanEnd(_Model):
    """One end of a move: a connection's name, and which store was behind it."""

    connection: str
    provider: str
    namespace: str

    @classmethod
    def of(cls, connection: str, store: StoreIdentity) -> PlanEnd:
        """Describe an open connection."""
        return cls(connection=connection, provider=store.provider, namespace=store.namespace)


class JobPlan(_Model):
    """The plan of one job. Names connections only: no key, no address, no memory.

    Attributes:
        where: The selection, as `--where` takes it.
        document_id: Template of the document keys.
        sample: Stop after so many records; not part of the fingerprint.
        accepted: Losses that were agreed to.
        losses: Lines of the gap report that touch records.
    """

    format: Literal[1] = PLAN_FORMAT
    job: str
    created_at: str
    source: PlanEnd
    target: PlanEnd
    where: str = ""
    document_id: str
    sample: int | None = None
    accepted: tuple[str, ...] = ()
    losses: tuple[GapLine, ...] = ()

    def moved(self) -> dict[str, Any]:
        """Return what the fingerprint covers: which records go where, under which keys."""
        return {
            "source": [self.source.provider, self.source.namespace],
            "target": [self.target.provider, self.target.namespace],
            "where": self.where,
            "document_id": self.document_id,
        }

    def fingerprint(self) -> str:
        """Return 32 hex digits of what is moved; never of counts, tuning, consent or secrets."""
        return fingerprint(self.moved())

    def check_same(self, other: JobPlan) -> None:
        """Make sure that `other` moves the same.

        Raises:
            FingerprintMismatchError: It does not; the message names what differs.
        """
        if self.fingerprint() == other.fingerprint():
            return
        mine, theirs = self.moved(), other.moved()
        changes = [
            f"{name}: was {mine[name]!r}, is {theirs[name]!r}" for name in mine if mine[name] != theirs[name]
        ]
        raise FingerprintMismatchError(
            f"job {self.job} was begun for another move ({'; '.join(changes)}); "
            "restore the connection, or start a new job with `memxfer migrate`"
        )

    @classmethod
    def read(cls, text: str | bytes, job: str) -> JobPlan:
        """Read a plan file.

        Raises:
            LedgerError: It is damaged, or of another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            if any(detail["loc"] == ("format",) for detail in error.errors(include_input=False)):
                raise LedgerError(
                    f"the plan of job {job} was written by another version of memxfer; go on with that one"
                ) from error
            raise LedgerError(f"the plan of job {job} cannot be read; was plan.json edited?") from error
