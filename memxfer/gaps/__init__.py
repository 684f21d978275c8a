"""What a move would keep, approximate, envelope or lose: from both sides' claims and from the records."""

from memxfer.gaps.agreement import Agreement, name_of, recounted
from memxfer.gaps.consent import check_consent, missing_consent, parse_accepted, words_for
from memxfer.gaps.crossings import FirstComers, Landing, owners_of
from memxfer.gaps.dimensions import RULES, Rule
from memxfer.gaps.envelope import EnvelopeBuilder
from memxfer.gaps.fidelity import Fidelity
from memxfer.gaps.ignored import ignored_line, ignored_words, reason_words
from memxfer.gaps.operations import End
from memxfer.gaps.report import Concern, GapLine, GapReport, Verdict
from memxfer.gaps.scan import Census
from memxfer.gaps.verdicts import build_report

__all__ = [
    "RULES",
    "Agreement",
    "Census",
    "Concern",
    "End",
    "EnvelopeBuilder",
    "Fidelity",
    "FirstComers",
    "GapLine",
    "GapReport",
    "Landing",
    "Rule",
    "Verdict",
    "build_report",
    "check_consent",
    "ignored_line",
    "ignored_words",
    "missing_consent",
    "name_of",
    "owners_of",
    "parse_accepted",
    "reason_words",
    "recounted",
    "words_for",
]
