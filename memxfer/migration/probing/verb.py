"""`probe`: the verb."""

from __future__ import annotations

import secrets
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from memxfer.config import Config, state_dir_of
from memxfer.errors import UnsupportedOperationError
from memxfer.migration.endpoints import Entrance, entrance_of, overruled
from memxfer.migration.evidence import ClaimVerdict, prepare_folder, save_evidence
from memxfer.migration.observer import Observer, SilentObserver
from memxfer.migration.options import Endpoint, StopSignal
from memxfer.migration.probing.claims import claims_of
from memxfer.migration.probing.planning import OWNER
from memxfer.migration.probing.report import ProbeReport, ProbeStatus
from memxfer.migration.probing.session import Session
from memxfer.models import format_time
from memxfer.spi import SupportsDelete, SupportsLevels

__all__ = ["ProbeSize", "probe", "probe_size"]

_OF_ONE_KEY = 3
_READ_BACK = 2


@dataclass(frozen=True, slots=True)
class ProbeSize:
    """What a probe would do to a backend.

    Attributes:
        documents: Documents it sends at most.
        removes: The backend can delete, so they are removed again.
    """

    documents: int
    removes: bool


def probe_size(endpoint: Endpoint, *, config: Config | None = None) -> ProbeSize:
    """Tell how many documents a probe would write. Contacts nothing.

    Raises:
        ConfigError: There is no such connection, or its block is wrong.
        UnsupportedOperationError: Nothing can be written to it.
    """
    provider = _target(entrance_of(endpoint, config=config, observer=SilentObserver())).provider
    documents = _OF_ONE_KEY + (_READ_BACK if provider.is_source() else 0)
    documents += isinstance(provider, SupportsLevels)
    return ProbeSize(documents, isinstance(provider, SupportsDelete))


async def probe(
    endpoint: Endpoint,
    *,
    config: Config | None = None,
    state_dir: str | Path | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> ProbeReport:
    """Try a live backend with tagged throw-away records, remove them, and keep what was seen.

    Writes the few documents that `probe_size` tells, all owned by a user `memxfer-probe-` and random
    letters, under random keys. Sends one key twice with the same text and once with another, and tells
    from what becomes of the first what the backend does with a key it knows. A target that is a source as
    well is read back, dimension by dimension. Everything is removed again, also after an error and after
    `stop`; what could not be removed is in the report and told as a warning.

    The evidence of a complete probe is kept with a named connection, and from then on `diff`, `migrate`,
    `resume` and `check` go by it: by the more careful of what is declared (or set in the configuration)
    and what was seen. Only `writing.client_key = unknown` is replaced by what was seen, whatever that is.

    Args:
        endpoint: The backend. Evidence is kept for named connections alone.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Where evidence is kept.
        observer: Takes notices.
        stop: Asks the probe to end early, and to remove what it wrote.

    Returns:
        What was seen; look at `status` and `leftovers`.

    Raises:
        UnsupportedOperationError: Nothing can be written to it.
        DecisionRequiredError: The connection leaves open what any record would need.
        ConfigError, ProviderError: It cannot be opened; nothing was written.
    """
    observer = observer or SilentObserver()
    state_dir = state_dir_of(state_dir, config=config)
    entrance = _target(entrance_of(endpoint, config=config, observer=observer))
    if entrance.is_connection:
        prepare_folder(state_dir)  # found out now, not after documents were paid for
    session = Session(
        reopen=_reopener(entrance, endpoint, config),
        observer=observer,
        token=f"{secrets.token_hex(6)}K",  # with a capital: a backend that folds case shows
        new_id=lambda: str(uuid.uuid4()),
        stop=stop,
    )
    await session.run()
    report = _report(entrance, session)
    if report.status is ProbeStatus.COMPLETED:
        _tell_overruled(entrance, report, observer)
        if entrance.is_connection:
            file = save_evidence(state_dir, report.as_evidence(memxfer=_version("memxfer") or "?"))
            report = report.model_copy(update={"evidence_file": str(file)})
    return report


def _target(entrance: Entrance) -> Entrance:
    if not entrance.provider.is_target():
        raise UnsupportedOperationError(
            f"{entrance.name} cannot be probed: {entrance.provider.name} is a source only, and a probe "
            "writes; without --probe it is checked by reading",
            provider=entrance.provider.name,
        )
    return entrance


def _reopener(entrance: Entrance, endpoint: Endpoint, config: Config | None) -> Callable[[], Entrance]:
    """Give a named connection anew each time it is opened; a provider object is what it is."""
    first = [entrance]

    def reopen() -> Entrance:
        if first:
            return first.pop()
        return entrance_of(endpoint, config=config, observer=SilentObserver())

    return reopen


def _report(entrance: Entrance, session: Session) -> ProbeReport:
    control = session.control
    claims = claims_of(session.seen)
    status = ProbeStatus.COMPLETED
    if control.cause is not None:
        status = ProbeStatus.INTERRUPTED if control.cause == "interrupted" else ProbeStatus.FAILED
    package = entrance.provider.sdk_package()
    installed = _version(package) if package else None
    counts = Counter(claim.verdict for claim in claims)
    message = (
        f"{counts[ClaimVerdict.CONFIRMED]} claims confirmed, {counts[ClaimVerdict.DOWNGRADED]} downgraded, "
        f"{counts[ClaimVerdict.NOT_TESTABLE]} could not be tested"
    )
    return ProbeReport(
        connection=entrance.name,
        provider=session.store.provider,
        namespace=session.store.namespace,
        status=status,
        probed_at=format_time(entrance.provider.clock.now()),
        sdk=f"{package} {installed}" if installed else None,
        owner=f"{OWNER}{session.token}",
        documents=sum(not sent.is_void for sent in session.inventory),
        claims=claims,
        leftovers=tuple(session.leftovers),
        message=control.reason if control.cause is not None else message,
        cause=control.cause.value if control.cause is not None else "",
    )


def _tell_overruled(entrance: Entrance, report: ProbeReport, observer: Observer) -> None:
    """Say it loudly when a setting of the user's promises more than was seen."""
    for claim in report.claims:
        if claim.verdict is ClaimVerdict.DOWNGRADED and claim.found is not None:
            level, text = overruled(
                entrance, claim.path, claim.declared, claim.found, day=report.probed_at[:10]
            )
            if level == "warning":
                observer.notice(level, text)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
