"""Backend texts, made fit for ledgers and logs."""

from __future__ import annotations

import re

__all__ = ["redact"]

_GAP = "[...]"
_TOKEN = re.compile(r"\w+|\W+")
_PUNCTUATION = re.compile(r"[\s.,;:!?()'\"/-]+")
_GAPS = re.compile(r"(?:\[\.\.\.\]\W*)*\[\.\.\.\]")
_VOCABULARY = """
a about above accepted account additional administrator after again all allowed already among an and
another any api are array as at authentication authorization available backend bad balance batch be
because been before being below between body boolean both build building but by byte bytes call cannot
channel character characters client closed code conflict connection contact contain contains content
corrupt could create created credential credentials credit credits customer customer_id data database
date decode decoded deleted denied detail did different disabled do document document_created_at
document_id document_type documents does duplicate duplicated during each either element empty enabled
encode encoding enough entity enum error exceed exceeded exceeds exist existing exists expected expired
extra extraction fail failed failure fast few field fields file for forbidden format found from full
gateway given greater had has have header held id identifier identity ids if in inactive index ingest
ingested ingestion inside insufficient integer internal into invalid is iso it item items its json key
keys kind language large larger later length less level limit list locked long longer malformed many
match maximum may memories memory message metadata method minimum minute missing mode model more must
name nested no none not nul null number object of on once one only operation or other out outside over
parse parsed partial path payload pending per permission pipeline please policy present process processed
processing quota range rate reached read ready reason receive received reference refused reject rejected
request requests require required requires reserved resource response retry same schema scope second
seconds sent server service set short should size small smaller space status storage store stored string
subscription support supported tenant text than that the there they this time timed timeout timestamp to
together token too top trial try twice type unable unauthorized unavailable unexpected unit unknown
unprocessable unsupported update updated upload url use used user user_id utf valid validation value
values was were when where which while with within without wrong you your
"""
_WORDS = frozenset(_VOCABULARY.split())


def redact(text: str, *, limit: int = 200) -> str:
    """Return `text` with everything left out that could be a user's: for errors, ledgers, logs.

    Backends quote what they refuse. Only words from a fixed vocabulary of error messages stay; any
    other word, number or symbol becomes `[...]`. Whatever a memory says, at most such words of it
    get through.

    Args:
        text: What the backend said.
        limit: Most characters returned.
    """
    kept = "".join(_kept(token) for token in _TOKEN.findall(text[: 10 * limit]))
    return re.sub(r"\s+", " ", _GAPS.sub(_GAP, kept)).strip()[:limit]


def _kept(token: str) -> str:
    if token.strip("_").lower() in _WORDS or _PUNCTUATION.fullmatch(token):
        return token
    return _GAP
