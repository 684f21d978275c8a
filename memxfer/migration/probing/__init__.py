"""`probe`: what a live backend really does, told by tagged records that are written and removed again."""

from memxfer.migration.probing.report import Leftover, ProbeReport, ProbeStatus
from memxfer.migration.probing.verb import ProbeSize, probe, probe_size

__all__ = ["Leftover", "ProbeReport", "ProbeSize", "ProbeStatus", "probe", "probe_size"]
