"""What a job moves: agreed once, fingerprinted, and the same on every resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from memxfer.errors import ConfigError, FingerprintMismatchError, LedgerError
from memxfer.gaps.report import GapLine, GapReport
from memxfer.ids import fingerprint
from memxfer.plan.forecast import Forecast
from memxfer.spi import StoreIdentity

__all__ = ["JobPlan", "PlanEnd", "PlanVersionError"]

PLAN_FORMAT: Literal[1] = 1
_ENDS = ("source", "target")


class PlanVersionError(LedgerError):
    """The plan of a job was written by another version of memxfer."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanEnd(_Model):
    """One end of a move: a connection's name, and which store was behind it.

    Attributes:
        connection: The connection's name.
        provider: The provider's name.
        namespace: As `StoreIdentity` has it.
        place: As `StoreIdentity` has it; empty also in plans of earlier versions, and in plan files.
    """

    connection: str
    provider: str
    namespace: str
    place: str = ""

    @classmethod
    def of(cls, connection: str, store: StoreIdentity) -> PlanEnd:
        """Describe an open connection."""
        return cls(
            connection=connection, provider=store.provider, namespace=store.namespace, place=store.place
        )

    def identity(self) -> list[str]:
        """Return what tells the store from others, for the fingerprint."""
        return [self.provider, self.namespace, *([self.place] if self.place else [])]


class JobPlan(_Model):
    """The plan of one job. Names connections only: no key, no address, no memory.

    Attributes:
        where: The selection, as `--where` takes it.
        document_id: Template of the document keys.
        job: The job's id; empty in a plan that no job has taken up.
        identity: Digest of the identity file, where there is one.
        decisions: What the target's connection decides about records, by setting.
        sample: Stop after so many records; not part of the fingerprint.
        accepted: Losses that were agreed to.
        residue: Which originals are kept beside the ledger; not part of the fingerprint.
        losses: Lines of the gap report that touch records.
        report: The whole gap report, in a plan that was made before its job.
        forecast: What the move would take, counted when the plan was made.
    """

    format: Literal[1] = PLAN_FORMAT
    job: str = ""
    created_at: str
    source: PlanEnd
    target: PlanEnd
    where: str = ""
    document_id: str
    identity: str | None = None
    decisions: dict[str, str] = {}
    sample: int | None = None
    accepted: tuple[str, ...] = ()
    residue: Literal["lossy", "full", "off"] = "lossy"
    losses: tuple[GapLine, ...] = ()
    report: GapReport | None = None
    forecast: Forecast | None = None

    def with_consent(self, accepted: Sequence[str]) -> JobPlan:
        """Return the plan with more losses accepted."""
        return self.model_copy(update={"accepted": tuple(dict.fromkeys((*self.accepted, *accepted)))})

    def moved(self) -> dict[str, Any]:
        """Return what the fingerprint covers: which records go where, under which keys."""
        moved: dict[str, Any] = {
            "source": self.source.identity(),
            "target": self.target.identity(),
            "where": self.where,
            "document_id": self.document_id,
        }
        return moved if self.identity is None else {**moved, "identity": self.identity}

    def fingerprint(self) -> str:
        """Return 32 hex digits of what is moved; never of counts, tuning, consent or secrets."""
        return fingerprint(self.moved())

    def check_same(self, other: JobPlan) -> None:
        """Make sure that `other` moves the same; a place that one of them does not know is no difference.

        Raises:
            FingerprintMismatchError: It does not; the message names what differs.
        """
        mine, theirs = self._known_to(other).moved(), other._known_to(self).moved()
        if mine == theirs:
            return
        begun = f"job {self.job} was begun" if self.job else "the plan was made"
        if self.anywhere().moved() == other.anywhere().moved():
            ends = [
                (end, getattr(self, end), getattr(other, end)) for end in _ENDS if mine[end] != theirs[end]
            ]
            changes = [f"the {end} was at {was.place} and is at {now.place}" for end, was, now in ends]
            raise FingerprintMismatchError(
                f"{begun} with another store of the same name ({'; '.join(changes)}); restore the "
                f"connection. If that very store was moved there: `memxfer resume {self.job} --moved`"
            )
        changes = [
            f"{name}: was {mine.get(name)!r}, is {theirs.get(name)!r}"
            for name in dict.fromkeys((*mine, *theirs))
            if mine.get(name) != theirs.get(name)
        ]
        raise FingerprintMismatchError(
            f"{begun} for another move ({'; '.join(changes)}); "
            "restore the connection, or start a new job with `memxfer migrate`"
        )

    def anywhere(self) -> JobPlan:
        """Return the plan without the places of its stores."""
        return self._placed("", "")

    def placed_as(self, other: JobPlan) -> JobPlan:
        """Return the plan with the places that `other` has."""
        return self._placed(other.source.place, other.target.place)

    def _known_to(self, other: JobPlan) -> JobPlan:
        return self._placed(
            self.source.place if other.source.place else "", self.target.place if other.target.place else ""
        )

    def _placed(self, source: str, target: str) -> JobPlan:
        return self.model_copy(
            update={
                "source": self.source.model_copy(update={"place": source}),
                "target": self.target.model_copy(update={"place": target}),
            }
        )

    @classmethod
    def read(cls, text: str | bytes, job: str) -> JobPlan:
        """Read a plan file.

        Raises:
            PlanVersionError: It is of another version.
            LedgerError: It is damaged.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            if any(detail["loc"] == ("format",) for detail in error.errors(include_input=False)):
                raise PlanVersionError(
                    f"the plan of job {job} was written by another version of memxfer; go on with that one"
                ) from error
            raise LedgerError(
                f"the plan of job {job} cannot be read: plan.json is damaged or was edited"
            ) from error

    # -- files of their own -------------------------------------------------------------------

    def to_file(self) -> str:
        """Return the text of a plan file: readable JSON that tells when it was edited."""
        # Where a store lies differs between machines, and a plan may be carried out on another.
        plan = self.anywhere()
        content = plan.model_dump(mode="json", exclude={"job"})
        head = {"memxfer": "plan", "fingerprint": plan.fingerprint(), "seal": fingerprint(content)}
        return json.dumps({**head, **content}, indent=2, ensure_ascii=True) + "\n"

    @classmethod
    def from_file(cls, text: str | bytes, name: str) -> JobPlan:
        """Read what `to_file` wrote.

        Args:
            text: What the file holds.
            name: The file's name, for errors.

        Raises:
            ConfigError: It is no plan, one of another version, or was edited.
        """
        again = "make it anew with `memxfer plan`"
        try:
            content = json.loads(text)
            if not isinstance(content, dict) or content.pop("memxfer", None) != "plan":
                raise ConfigError(f"{name} is not a plan of memxfer; {again}")
            seal, mark = content.pop("seal", None), content.pop("fingerprint", None)
            plan = cls.model_validate(content)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name} is not a plan that this memxfer can read; {again}") from error
        if fingerprint(content) != seal or plan.fingerprint() != mark:
            raise ConfigError(f"{name} was changed after it was made; {again}, with the options you want")
        return plan
