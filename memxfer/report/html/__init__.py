"""Reports as one HTML file that needs nothing else: no script, no network, no fonts."""

from memxfer.report.html.page import html_report

__all__ = ["html_report"]
