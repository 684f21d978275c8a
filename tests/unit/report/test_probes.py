import io

import pytest
from rich.console import Console

from memxfer.migration import Claim, ClaimVerdict, Leftover, ProbeReport, ProbeStatus
from memxfer.report.probes import evidence_view, probe_view


def claim(path, declared, found, verdict, note=""):
    return Claim(path=path, declared=declared, found=found, verdict=ClaimVerdict(verdict), note=note)


CLAIMS = (
    claim("writing.client_key", "unknown", "append", "downgraded", "the first copy was still there"),
    claim("writing.acknowledges", "async", "async", "confirmed"),
    claim("dimensions.kind.write", "native", "native", "confirmed"),
    claim("dimensions.created_at.write", "native", "native", "confirmed"),
    claim("dimensions.tags.write", "native", "none", "downgraded", "it was gone"),
    claim("dimensions.user.write", "lossy", "native", "confirmed", "better than declared"),
    claim("dimensions.app.write", "envelope", None, "not_testable", "it cannot be read back"),
    claim("dimensions.group.write", "envelope", None, "not_testable", "it cannot be read back"),
    claim("limits", "content_bytes", None, "not_testable", "too dear"),
)


def report(**fields):
    defaults = {
        "connection": "new",
        "provider": "synap",
        "namespace": "inst_1",
        "status": ProbeStatus.COMPLETED,
        "probed_at": "2026-11-21T10:00:00Z",
        "sdk": "maximem-synap 0.6.9",
        "owner": "memxfer-probe-1",
        "documents": 3,
        "claims": CLAIMS,
    }
    return ProbeReport(**{**defaults, **fields})


@pytest.fixture
def shown():
    def render(view):
        out = io.StringIO()
        Console(file=out, width=100, markup=False).print(view)
        return [" ".join(line.split()) for line in out.getvalue().splitlines()]

    return render


def test_a_report_shows_claims_with_what_was_found(shown):
    lines = shown(probe_view(report(evidence_file="state/new.json")))
    assert lines == [
        "new: synap inst_1, maximem-synap 0.6.9. 3 documents written for memxfer-probe-1, and removed again.",
        "",
        "claim declared found evidence",
        "writing.client_key unknown append downgraded: the first copy was still there",
        "writing.acknowledges async async confirmed",
        "dimensions.tags.write native none downgraded: it was gone",
        "dimensions.user.write lossy native confirmed: better than declared",
        "Confirmed as declared: kind, created at.",
        "Not testable:",
        "app, group: it cannot be read back",
        "limits: too dear",
        "",
        "Kept in state/new.json: diff, plan, migrate and resume go by it.",
    ]


def test_what_is_left_is_named_with_its_ids_or_its_handle(shown):
    left = (
        Leftover(key="mx:1", target_ids=("a", "b"), reason="refused"),
        Leftover(key="mx:2", ingestion_id="i", reason="still processing"),
        Leftover(key="", target_ids=("c",), reason="a stray"),
    )
    lines = shown(probe_view(report(claims=(), leftovers=left)))
    assert "removed again" not in lines[0]
    assert lines[-4:] == [
        "Not removed; look after these yourself:",
        "mx:1 ids a, b: refused",
        "mx:2 ingestion i: still processing",
        "ids c: a stray",
    ]


def test_a_probe_that_ended_early_says_why(shown):
    early = report(claims=(), status=ProbeStatus.FAILED, cause="auth", message="the key was refused")
    assert "The probe ended early (failed): the key was refused" in shown(probe_view(early))


def test_earlier_evidence_is_shown_with_its_day(shown):
    lines = shown(evidence_view(report().as_evidence(memxfer="0.1.0")))
    assert lines[1] == "Probed on 2026-11-21: synap inst_1, maximem-synap 0.6.9, memxfer 0.1.0."
    assert "writing.acknowledges async async confirmed" in lines


def test_foreign_text_cannot_steer_the_terminal(shown):
    nasty = claim("writing.client_key", "upsert", None, "not_testable", "\x1b[31mred\nline")
    lines = shown(probe_view(report(claims=(nasty,), namespace="a\x07b")))
    assert not any(char in "".join(lines) for char in "\x1b\x07")
