"""Hooks of MkDocs: pages from the root of the repository, links to files outside docs/, and llms.txt."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
ADDED = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"providers/details/{file.parent.name}.md": f"providers/{file.parent.name}/README.md"
        for file in sorted(ROOT.glob("providers/*/README.md"))
    },
}
"""Pages of the site that are files elsewhere in the repository."""

_LINK = re.compile(r"(\]\()([^)#\s]+)")
_SITE = {source: page for page, source in ADDED.items()}
_pages: list[tuple[str, str, str]] = []


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are kept outside docs/."""
    for page, source in ADDED.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links of the repository to the pages of the site."""
    here = page.file.src_uri
    source = ADDED.get(here, f"docs/{here}")

    def moved(found: re.Match[str]) -> str:
        target = found[2]
        if "://" in target:
            return found[0]
        named = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        on_site = _SITE.get(named, named.removeprefix("docs/"))
        return found[1] + posixpath.relpath(on_site, posixpath.dirname(here) or ".")

    return _LINK.sub(moved, markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> None:
    """Note a page for llms.txt, with its first sentence."""
    paragraph = re.search(r"<p>(.*?)</p>", html, re.DOTALL)
    text = re.sub(r"<[^>]+>", "", paragraph[1]) if paragraph else ""
    sentence = " ".join(text.split()).split(". ")[0].rstrip(".:")
    _pages.append((page.file.src_uri, page.title, sentence))


def on_post_build(config: Any) -> None:
    """Write llms.txt: each page of the navigation, with its address and what it is about."""
    known = {source: (title, sentence) for source, title, sentence in _pages}
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    lines += _entries(config.nav, known, "## ")
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    _pages.clear()


def _entries(nav: Any, known: dict[str, tuple[str, str]], heading: str) -> list[str]:
    lines: list[str] = []
    for entry in nav:
        [(name, below)] = entry.items()
        if isinstance(below, list):
            lines += ["", heading + name, "", *_entries(below, known, heading)]
        else:
            _, sentence = known[below]
            lines.append(f"- [{name}]({below.removesuffix('.md')}.html): {sentence}")
    return lines
