import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest

from memxfer.report.html import html_report
from memxfer.report.html.elements import element
from memxfer.report.text import plain

STYLE = resources.files("memxfer.report.html").joinpath("style.css").read_text(encoding="utf-8")
COLOUR = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
PAIRS = [
    ("ink", "paper"),
    ("ink", "raised"),
    ("muted", "paper"),
    ("muted", "raised"),
    ("on-red", "red"),
    *(
        (tone, ground)
        for tone in ("red", "amber", "ochre", "blue", "green")
        for ground in (f"{tone}-wash", "paper")
    ),
]


@pytest.fixture
def moved(line, report):
    lines = (
        line(
            records=2, consequence="Old texts go.", samples=("id-1", "id-2"), remedy="--accept-loss versions"
        ),
        line("created_at", "temporal", "approximated", target="lossy", records=10),
        line("user", "identity", blocking=True, records=1, remedy='unscoped = "skip" | see `docs`'),
        line("kind", "content", "at_risk", records=3, remedy="see `memxfer failures JOB`"),
        line("pinning", "context", "lost"),
    )
    return report(*lines)


def attributes(page, name):
    return [value for _, found in page.elements for key, value in found.items() if key == name]


def classes(page, tag):
    return [found.get("class") or "" for one, found in page.elements if one == tag]


def test_it_is_one_document_in_english_and_utf_8(moved, read_html):
    text = html_report(moved)
    page = read_html(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    tags = [tag for tag, _ in page.elements]
    assert [tags.count(tag) for tag in ("html", "head", "title", "body", "main", "h1", "style")] == [1] * 7
    assert attributes(page, "charset") == ["utf-8"]
    assert text.index("charset") < text.index("Content-Security-Policy") < text.index("<style>")


def test_its_policy_forbids_everything_but_its_own_style(moved, read_html):
    page = read_html(html_report(moved))
    (policy,) = (found["content"] for _, found in page.elements if found.get("http-equiv"))
    style = re.search(r"<style>(.*?)</style>", html_report(moved), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert attributes(page, "style") == []  # the policy would forbid them


def test_it_loads_nothing_and_runs_nothing(moved, hostile_report, read_html):
    for one in (moved, hostile_report):
        page = read_html(html_report(one))
        assert not {"script", "link", "img", "iframe", "object", "base", "form", "a"} & {
            t for t, _ in page.elements
        }
        names = {key for _, found in page.elements for key in found}
        assert not names & {"src", "srcset", "xlink:href", "action", "background"}
        assert not [name for name in names if name.startswith("on")]
        assert all(reference.startswith("#level-") for reference in attributes(page, "href"))
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert "@font-face" not in STYLE


def test_hostile_text_reads_as_it_is_and_becomes_no_markup(hostile_report, hostile, read_html):
    text = html_report(hostile_report)
    page = read_html(text)
    words = " ".join(plain(hostile).split())
    assert page.words.count(words) >= 9  # title, heading twice, sentence, level, name, ids, ways out
    assert page.comments == []
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert text.encode("utf-8").decode("utf-8") == text
    assert not any(mark in text for mark in "\u202e\x00\x1b")


def test_text_becomes_markup_only_as_an_element():
    inner = element("b", "a<b>", title="\"'&\u202e", data_label="x")
    assert inner == '<b title="&quot;&#x27;&amp;\\u202e" data-label="x">a&lt;b&gt;</b>'
    assert element("p", inner, None, "\ud800\x00") == f"<p>{inner}\\ud800\\x00</p>"


def test_every_form_that_is_used_is_drawn(moved, read_html):
    page = read_html(html_report(moved))
    drawn = {f"#{found['id']}" for tag, found in page.elements if tag == "symbol"}
    assert set(attributes(page, "href")) <= drawn


def test_the_head_counts_what_is_lost_approximated_and_kept_even_if_nothing_is(
    moved, report, line, read_html
):
    tally = re.compile(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>")
    found = dict(tally.findall(html_report(moved).split('class="tally"')[1].split("</dl>")[0]))
    assert found == {
        "BLOCKED": "1", "lost": "1", "at risk": "1", "approximated": "1", "kept": "0", "in no record": "1",
    }  # fmt: skip
    clean = html_report(report(line(verdict="kept", records=1)))
    assert dict(tally.findall(clean.split('class="tally"')[1].split("</dl>")[0]))["lost"] == "0"
    assert "<h2>Decide before you migrate</h2>" not in clean


def test_what_has_to_be_decided_stands_first_with_code_to_copy(moved):
    text = html_report(moved)
    decide = text.index("<h2>Decide before you migrate</h2>")
    end = text.index("<h2>What everybody asks first</h2>")
    section = text[decide:end]
    assert section.index("<bdi>user</bdi>") < section.index("<bdi>versions</bdi>")
    assert "<code>unscoped = &quot;skip&quot;</code>" in section
    assert "<li>see <code>docs</code></li>" in section
    assert "<code>--accept-loss versions</code>" in section
    assert "memxfer failures JOB" in text[end:]


def test_tables_have_captions_and_every_cell_a_heading(moved, hostile_report, read_html):
    for one in (moved, hostile_report):
        page = read_html(html_report(one))
        tags = [tag for tag, _ in page.elements]
        assert tags.count("caption") == tags.count("table") > 3
        scopes = [found.get("scope") for tag, found in page.elements if tag == "th"]
        assert set(scopes) == {"col", "row", "rowgroup"}


def test_the_matrix_names_every_line_of_the_report(moved, read_html):
    matrix = read_html(html_report(moved).split('<div class="matrix">')[1].split("</div>")[0])
    words = matrix.words
    for name in ("versions", "created at", "user", "kind", "pinning"):
        assert name in words
    assert len([row for row in classes(matrix, "span") if row.startswith("word ")]) == 5


def test_what_becomes_of_a_line_is_a_word_wherever_it_is_a_colour(moved):
    badges = re.findall(r'<span class="(?:badge|word) (\w+)">([^<]*)</span>', html_report(moved))
    words = {"blocked": "BLOCKED", "lost": "lost", "at_risk": "at risk", "approximated": "approximated"}
    assert {kind: word for kind, word in badges if kind in words} == words
    assert all(word for _, word in badges)


def test_bars_are_as_long_as_the_share_and_tiny_ones_can_be_seen(line, report):
    for records, scanned, length in ((5, 10, "50.0"), (1, 10**6, "1.0"), (12, 10, "100.0")):
        text = html_report(report(line(records=records), scanned=scanned))
        assert re.findall(r'<rect class="fill" width="([\d.]+)"', text) == [length]
    assert '<rect class="fill"' not in html_report(report(line()))


def test_samples_are_folded_away(moved, read_html):
    text = html_report(moved)
    assert "<details><summary>2 example ids" in text
    assert "<li><code>id-1</code></li><li><code>id-2</code></li>" in text
    assert "open" not in {key for _, found in read_html(text).elements for key in found}


def test_estimates_are_marked(line, report, read_html):
    page = read_html(html_report(report(line(records=4, estimate=4_100), sample=True, total=9_000)))
    assert "about 4,100 (estimated)" in page.words
    assert page.words.count("Counts are of the 10 read; those marked (estimated) are for all 9,000.") == 1


def test_a_contradiction_is_shown(line, report):
    assert "please report it" in html_report(report(line(records=1, contradiction=True)))


def test_only_the_date_differs_between_two_of_one_report(moved):
    early = datetime(2026, 11, 21, 9, 5, tzinfo=timezone(timedelta(hours=2)))
    first, second = (
        html_report(moved, generated_at=early),
        html_report(moved, generated_at=datetime(2027, 1, 1, tzinfo=UTC)),
    )
    line = '<time datetime="2026-11-21T07:05:00+00:00">2026-11-21 07:05 UTC</time>'
    assert line in first
    assert re.sub(r"<time.*?</time>", "", first) == re.sub(r"<time.*?</time>", "", second)
    assert html_report(moved) == html_report(moved)
    assert "<time" not in html_report(moved)


# -- the style -------------------------------------------------------------------------------------


def brightness(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    bright, dark = sorted((brightness(one), brightness(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def themes():
    light, dark = (
        dict(COLOUR.findall(block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    )
    assert light.keys() == dark.keys()
    return {"light": light, "dark": dark}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read_in_both_themes(theme, text, ground):
    colours = themes()[theme]
    assert contrast(colours[text], colours[ground]) >= 4.5  # WCAG AA


def test_paper_is_light_whatever_the_screen_and_folded_text_is_printed():
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
    assert STYLE.count("prefers-color-scheme") == 1
    printed = STYLE[STYLE.index("@media print") :]
    assert "color-scheme: light;" in printed
    assert (
        "details::details-content { display: block; height: auto; content-visibility: visible; }" in printed
    )


def test_every_class_that_is_coloured_or_laid_out_is_used(moved, report, line):
    kinds = [
        line(verdict=verdict, records=1) for verdict in ("unknown", "kept", "enveloped", "read_time_only")
    ]
    noted = line(records=1, estimate=2, contradiction=True, target="unknown", source="envelope")
    text = html_report(moved) + html_report(report(*kinds, noted))
    styled = set(re.findall(r"\.([a-z_]+)", re.sub(r"[\d.]+(?:rem|em|px)", "", STYLE)))
    used = {name for found in re.findall(r'class="([^"]*)"', text) for name in found.split()}
    assert styled <= used
