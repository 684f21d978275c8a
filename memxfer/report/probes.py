"""What probes saw, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memxfer.migration.evidence import Claim, ClaimVerdict, ConnectionEvidence
from memxfer.migration.probing import Leftover, ProbeReport
from memxfer.report.text import plain, plural

__all__ = ["evidence_view", "probe_view"]

_DIMENSIONS = "dimensions."
_WORDS = {
    ClaimVerdict.CONFIRMED: "confirmed",
    ClaimVerdict.DOWNGRADED: "downgraded",
    ClaimVerdict.NOT_TESTABLE: "not testable",
}


def probe_view(report: ProbeReport) -> RenderableType:
    """Return what a probe saw, what it left behind and where its evidence is."""
    head = f"{plain(report.connection)}: {_store(report)}. {plural(report.documents, 'document')} written"
    head += f" for {plain(report.owner)}" + (", and removed again." if not report.leftovers else ".")
    parts: list[RenderableType] = [Text(head)]
    if report.cause:
        parts.append(Text(f"The probe ended early ({report.status.value}): {plain(report.message)}"))
    parts += [Text(), *_claims(report.claims), *_leftovers(report.leftovers)]
    if report.evidence_file:
        kept = f"Kept in {plain(report.evidence_file)}: diff, plan, migrate and resume go by it."
        parts += [Text(), Text(kept)]
    return Group(*parts)


def evidence_view(evidence: ConnectionEvidence) -> RenderableType:
    """Return what an earlier probe saw."""
    head = (
        f"Probed on {plain(evidence.probed_at[:10])}: {_store(evidence)}, memxfer {plain(evidence.memxfer)}."
    )
    return Group(Text(), Text(head), Text(), *_claims(evidence.claims))


def _store(of: ProbeReport | ConnectionEvidence) -> str:
    sdk = f", {plain(of.sdk)}" if of.sdk else ""
    return f"{plain(of.provider)} {plain(of.namespace)}{sdk}"


def _claims(claims: Sequence[Claim]) -> list[RenderableType]:
    seen = [claim for claim in claims if claim.verdict is not ClaimVerdict.NOT_TESTABLE]
    whole = [claim for claim in seen if _is_whole(claim)]
    rows = [claim for claim in seen if claim not in whole]
    parts: list[RenderableType] = [_table(rows)] if rows else []
    if whole:
        parts.append(Text(f"Confirmed as declared: {_names(whole)}."))
    untested = [claim for claim in claims if claim.verdict is ClaimVerdict.NOT_TESTABLE]
    return [*parts, *_untested(untested)]


def _is_whole(claim: Claim) -> bool:
    """Tell whether a dimension did what was declared of it: one word for all of them is enough."""
    return claim.path.startswith(_DIMENSIONS) and claim.verdict is ClaimVerdict.CONFIRMED and not claim.note


def _table(claims: Iterable[Claim]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("claim", "declared", "found"):
        table.add_column(title, overflow="fold")
    table.add_column("evidence", overflow="fold", ratio=1)
    for claim in claims:
        note = f": {plain(claim.note)}" if claim.note else ""
        cells = (claim.path, claim.declared, claim.found or "-", _WORDS[claim.verdict] + note)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _untested(claims: Sequence[Claim]) -> list[RenderableType]:
    reasons: dict[str, list[Claim]] = {}
    for claim in claims:
        reasons.setdefault(claim.note, []).append(claim)
    lines = [f"  {_names(these)}: {plain(reason)}" for reason, these in reasons.items()]
    return [Text("\n".join(("Not testable:", *lines)))] if lines else []


def _names(claims: Iterable[Claim]) -> str:
    return ", ".join(_name(claim) for claim in claims)


def _name(claim: Claim) -> str:
    if not claim.path.startswith(_DIMENSIONS):
        return plain(claim.path)
    return plain(claim.path.removeprefix(_DIMENSIONS).removesuffix(".write").replace("_", " "))


def _leftovers(leftovers: Sequence[Leftover]) -> list[RenderableType]:
    if not leftovers:
        return []
    lines = [f"  {_what(left)}: {plain(left.reason)}" for left in leftovers]
    return [Text(), Text("\n".join(("Not removed; look after these yourself:", *lines)))]


def _what(left: Leftover) -> str:
    ids = f"ids {', '.join(map(plain, left.target_ids))}" if left.target_ids else ""
    handle = f"ingestion {plain(left.ingestion_id)}" if left.ingestion_id and not ids else ""
    return " ".join(part for part in (plain(left.key), ids or handle) if part)
