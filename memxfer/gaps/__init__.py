"""What a move would keep, approximate, envelope or lose: from both sides' claims and from the records."""

from memxfer.gaps.consent import check_consent, missing_consent, parse_accepted
from memxfer.gaps.crossings import Landing
from memxfer.gaps.dimensions import RULES, Rule
from memxfer.gaps.envelope import EnvelopeBuilder
from memxfer.gaps.fidelity import Fidelity
from memxfer.gaps.operations import End
from memxfer.gaps.report import Concern, GapLine, GapReport, Verdict
from memxfer.gaps.scan import Census
from memxfer.gaps.verdicts import build_report

__all__ = [
    "RULES",
    "Census",
    "Concern",
    "End",
    "EnvelopeBuilder",
    "Fidelity",
    "GapLine",
    "GapReport",
    "Landing",
    "Rule",
    "Verdict",
    "build_report",
    "check_consent",
    "missing_consent",
    "parse_accepted",
]
