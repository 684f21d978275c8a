"""The residue of a job: opening it before a run, completing it after."""

from __future__ import annotations

import asyncio

from memxfer import __version__
from memxfer.archive import Origin, ResidueArchive
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.residue import Residue
from memxfer.errors import LedgerError
from memxfer.gaps.fidelity import Fidelity
from memxfer.ledger import JobFolder
from memxfer.migration.endpoints import OpenEnd
from memxfer.plan import JobPlan
from memxfer.spi import SystemClock

__all__ = ["chosen_originals", "finish_residue", "residue_of"]


def residue_of(folder: JobFolder, plan: JobPlan, source: OpenEnd) -> ResidueArchive | None:
    """Return where the job's originals go; `None` when it keeps none. Touches no file."""
    if plan.residue == "off":
        return None
    store = source.provider.store()
    return ResidueArchive(
        folder.residue_path,
        origin=Origin(provider=store.provider, namespace=store.namespace),
        now=SystemClock().now,
        tool=f"memxfer {__version__}",
    )


def chosen_originals(
    archive: ResidueArchive | None, plan: JobPlan, source: OpenEnd, target: OpenEnd
) -> Residue | None:
    """Return what chooses the originals that go to `archive`."""
    if archive is None or plan.residue == "off":
        return None
    fidelity = Fidelity(target.provider.capabilities())
    return Residue(archive, source.provider.store(), mode=plan.residue, is_whole=fidelity.is_whole)


async def finish_residue(archive: ResidueArchive | None, control: RunControl) -> None:
    """Complete the residue of a run that came to its end by itself; where that fails, so does the run.

    After any other end it stays open: it can be read all the same, and the reader says that more may come.
    """
    if archive is None or control.is_stopping:
        return
    try:
        await asyncio.to_thread(archive.finish)
    except LedgerError as error:
        control.stop(StopCause.LEDGER, str(error), error=error)
