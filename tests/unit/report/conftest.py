from html.parser import HTMLParser

import pytest

from memxfer.capabilities import DimensionGroup
from memxfer.gaps.report import GapLine, GapReport, Verdict

HOSTILE = (
    "<script>alert(1)</script> \"'& </style> [x](/evil) ![y](/evil) `rm` | a\\|b **b** _i_ ~~s~~ $m$ @you "
    "https://evil.example www.evil.example <!-- \u202egnp.exe שלום \ud800 \x1b[31m \x00 \r\n# h\n- l"
)
"""What an id, a name or a sentence of somebody else may hold."""


def _line(dimension="versions", group="versioning", verdict="lost", **values) -> GapLine:
    facts = {"source": "native", "target": "none", **values}
    return GapLine(dimension=dimension, group=DimensionGroup(group), verdict=Verdict(verdict), **facts)


def _report(*lines, **values) -> GapReport:
    blocking = any(line.blocking for line in lines)
    facts = {"source": "old", "target": "new", "scanned": 10, "total": 10, "blocking": blocking, **values}
    return GapReport(dimensions=lines, **facts)


@pytest.fixture
def line():
    """Make a line: `line("tags", "context", "kept", records=3)`."""
    return _line


@pytest.fixture
def report():
    """Make a report: `report(line(), line(...), total=12)`."""
    return _report


@pytest.fixture
def hostile_report():
    """A report in which everything that others name is hostile, with forty lines."""
    fields = (
        _line(
            f"mem0.field_{number}",
            "extensions",
            ("lost", "enveloped")[number % 2],
            records=10**9 - number,
            estimate=10**9,
        )
        for number in range(38)
    )
    user = _line("user", "identity", blocking=True, records=1, samples=("x" * 200, HOSTILE), remedy=HOSTILE)
    odd = _line("tags", "context", "kept", records=1, consequence=HOSTILE, source=HOSTILE, samples=(HOSTILE,))
    values = {"source": HOSTILE, "target": HOSTILE, "scanned": 10**9, "total": 10**10, "sample": True}
    return _report(
        user.model_copy(update={"consequence": HOSTILE}),
        odd,
        _line(HOSTILE, "context", "at_risk", records=2, remedy=f"--{HOSTILE}"),
        *fields,
        **values,
    )


@pytest.fixture
def hostile():
    return HOSTILE


class _Page(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    EMPTY = frozenset({"meta", "br", "rect", "use", "circle", "path"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.comments: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture
def read_html():
    """Parse a document or a piece of one; fails where an element is not closed."""

    def read(text: str) -> _Page:
        page = _Page()
        page.feed(text)
        page.close()
        assert page.open == []
        return page

    return read
