"""What is written and looked at when it comes back; the records are those of `probe`."""

from __future__ import annotations

from memxfer.migration.probing.samples import NESTED_METADATA, TRIALS, truncate

__all__ = ["CONTENTS", "NESTED_METADATA", "TRIALS", "truncate"]

CONTENTS: dict[str, str] = {
    "accents": "Zoë naïvely ordered crème brûlée in Łódź",
    "combining": "e\u0301 is not \u00e9, and must not become it",
    "emoji": "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and flag \U0001f1f5\U0001f1f1",
    "right_to_left": "\u200fשלום עולם \u202eevil\u202c مرحبا",  # noqa: RUF001 - Hebrew on purpose
    "cjk": "ユーザーは東京に住んでいる。用户喜欢喝茶",
    "quotes": 'she said "it\'s \\ done" and {"json": [1, null]}',
    "lines": "first\nsecond\r\nthird\ttabbed\n\nlast\n",
    "separators": "a\u2028b\u2029c\u0085d\x0be",
    "blanks": "  leading and trailing  ",
    "nul": "before\x00after",
    "markup": "<script>alert(1)</script> [bold]x[/bold] \x1b[31mred\x1b[0m",
    "empty": "",
    "long": "twenty characters ok " * 5_000,
    "huge": "memory " * 150_000,
}
"""Texts that have broken stores, by what is odd about them; `huge` is a megabyte."""
