"""Draws the diagrams of the documentation as SVG, each on a card that reads in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

_STYLE = """
  .card { fill: #fbfcfd; stroke: #c9d1d9; }
  .box { fill: #ffffff; stroke: #0b7a75; stroke-width: 1.5; }
  .store { fill: #e6f4f3; stroke: #0b7a75; stroke-width: 1.5; }
  .side { fill: #f0f2f5; stroke: #8b949e; stroke-width: 1.5; }
  .law { fill: #fff6e0; stroke: #b7791f; stroke-width: 1.5; }
  .line { stroke: #57606a; stroke-width: 1.5; fill: none; marker-end: url(#tip); }
  .back { stroke-dasharray: 5 4; }
  text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .name { font-size: 15px; font-weight: 600; }
  .note { font-size: 12.5px; fill: #4a525a; }
"""

_TIP = (
    '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#57606a"/></marker></defs>'
)


def _box(x: int, y: int, width: int, height: int, lines: Iterable[str], kind: str = "box") -> str:
    """Draw a box; the first line is its name."""
    name, *notes = lines
    middle = x + width // 2
    top = y + height / 2 - 9 * len(notes) + 5
    parts = [
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>',
        f'<text class="name" x="{middle}" y="{top:g}" text-anchor="middle">{escape(name)}</text>',
    ]
    for number, note in enumerate(notes, 1):
        parts.append(
            f'<text class="note" x="{middle}" y="{top + 18 * number:g}" text-anchor="middle">'
            f"{escape(note)}</text>"
        )
    return "\n".join(parts)


def _line(path: str, *, back: bool = False) -> str:
    return f'<path class="line{" back" if back else ""}" d="{path}"/>'


def _text(x: int, y: int, text: str, anchor: str = "middle") -> str:
    return f'<text class="note" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _drawing(title: str, description: str, width: int, height: int, *parts: str) -> str:
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            f"<style>{_STYLE}</style>",
            _TIP,
            f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="12"/>',
            *parts,
            "</svg>",
        )
    )


def how_a_move_works() -> str:
    """Draw the way of a record from source to target."""
    return _drawing(
        "How a move works",
        "The source is read twice: first to compare and decide, then to move. Each document goes from the "
        "source through mapping and batches to the target; the job's folder keeps ledger and originals.",
        960,
        430,
        _box(24, 150, 150, 76, ("Source", "only read"), "side"),
        _box(786, 150, 150, 76, ("Target", "Synap, Mem0, ..."), "side"),
        _box(250, 28, 200, 76, ("1  Compare", "diff, plan: count losses,", "write nothing")),
        _box(510, 28, 200, 76, ("2  Decide", "consent for losses,", "decisions for owners")),
        _box(250, 150, 200, 76, ("3  List and map", "partitions side by side;", "one key for each record")),
        _box(510, 150, 200, 76, ("4  Send", "batches, paced by", "the target's limits")),
        _box(510, 272, 200, 60, ("5  Ask until processed", "accepted is not stored")),
        _box(
            200,
            356,
            560,
            54,
            (
                "The job's folder",
                "ledger: one state for each record; originals: records the target cannot hold whole",
            ),
            "store",
        ),
        _line("M100 150V66H250"),
        _line("M450 66H510"),
        _line("M610 104V150"),
        _line("M174 188H250"),
        _line("M450 188H510"),
        _line("M710 176H786"),
        _line("M786 202H710", back=True),
        _text(748, 168, "documents"),
        _text(748, 220, "receipts"),
        _line("M610 226V272"),
        _line("M710 302H861V226"),
        _line("M350 226V356"),
        _line("M610 332V356"),
        _text(342, 300, "intents, originals", "end"),
        _text(618, 348, "states", "start"),
    )


def write_order() -> str:
    """Draw what is on disk before what happens."""
    return _drawing(
        "Write order",
        "Original on disk, then the intent, then the call to the target, then the receipt and the position "
        "in the source. A crash after the intent leaves it without a receipt, and the next run resolves it.",
        960,
        250,
        _box(24, 56, 160, 76, ("1  Original", "appended and synced", "if a loss is expected"), "store"),
        _box(212, 56, 160, 76, ("2  Intent", "key and hash,", "committed"), "store"),
        _box(400, 56, 160, 76, ("3  Call", "the batch is sent", "to the target"), "law"),
        _box(588, 56, 160, 76, ("4  Receipt", "state, ids of the", "target, committed"), "store"),
        _box(776, 56, 160, 76, ("5  Position", "where to list on,", "same transaction"), "store"),
        _line("M184 94H212"),
        _line("M372 94H400"),
        _line("M560 94H588"),
        _line("M748 94H776"),
        _text(104, 36, "on disk"),
        _text(292, 36, "on disk"),
        _text(480, 36, "network"),
        _text(668, 36, "on disk"),
        _text(856, 36, "on disk"),
        _line("M292 132V182", back=True),
        _line("M668 182V132", back=True),
        '<path d="M292 182H668" stroke="#57606a" stroke-width="1.5" stroke-dasharray="5 4" fill="none"/>',
        _text(480, 204, "A crash here leaves an intent without a receipt: the document is in doubt."),
        _text(480, 224, "The next run sends it again under its key, looks for it, or asks you."),
    )


DIAGRAMS = {"how-a-move-works": how_a_move_works(), "write-order": write_order()}
