"""The routes that an app asks while it runs: searches, texts for prompts, and a fact's change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .checks import check_metadata, check_text, invalid
from .finding import Finder
from .store import Query

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["AskingRoutes"]

_BODY = msgspec.json.Decoder(dict[str, Any])
_MOST_FOUND: Final = 50
_MOST_IN_TEXT: Final = 20
_EVERYTHING: Final = 10**6


class AskingRoutes:
    """Answers questions with what shares words with them; Zep has models for that.

    Args:
        emulator: Gives settings, store and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator
        self._finder = Finder(emulator)

    def endpoints(self, base: str) -> Sequence[Endpoint]:
        """Return the routes."""
        once = self._emulator.replays.once
        return [
            Endpoint("POST", f"{base}/graphs/{{uuid}}/search/edges", self._search),
            Endpoint("POST", f"{base}/graphs/{{uuid}}/context", self._context),
            Endpoint("GET", f"{base}/threads/{{uuid}}/context", self._thread_context),
            Endpoint("PATCH", f"{base}/graphs/{{uuid}}/edges/{{part}}", once(self._update)),
        ]

    def _search(self, call: Call) -> Answer:
        """Rank the facts of a graph, ended ones among them."""
        graph, query = self._finder.graph_uuid(call), _query(call)
        text = call.query.get("page_size", str(_MOST_FOUND))
        if not text.isdecimal() or not 1 <= int(text) <= _MOST_FOUND:
            raise invalid(f"page_size must be from 1 to {_MOST_FOUND}", "page_size")
        return Answer(200, {"items": self._ranked(call, graph, query)[: int(text)]})

    def _context(self, call: Call) -> Answer:
        graph, query = self._finder.graph_uuid(call), _query(call)
        body = call.decode(_BODY)
        facts = self._ranked(call, graph, query)[:_MOST_IN_TEXT]
        text, is_cut = _text(facts), False
        most = body.get("max_characters")
        if most is not None and len(text) > most:
            text, is_cut = text[:most], True
        answer: dict[str, Any] = {"context": text, "truncated": is_cut}
        if body.get("include_results"):
            ranked = [{**one, "selection_rank": rank} for rank, one in enumerate(facts, 1)]
            # episodes are never selected (zep-cloud 4.0.1, docstrings)
            others = ("episodes", "nodes", "observations", "thread_summaries")
            answer["results"] = {"edges": ranked, **{name: [] for name in others}}
        return Answer(200, answer)

    def _thread_context(self, call: Call) -> Answer:
        """Answer with what fits the thread's last turns: there is no question."""
        thread = self._finder.found(call, "thread", call.params["uuid"])
        query = Query(call.identity, "message", thread["uuid"], "created_at", is_descending=True)
        said = [msgspec.json.decode(body) for _, body in self._emulator.store.page(query, None, 4)]
        user = self._finder.found(call, "user", thread["user_uuid"])
        facts = self._ranked(call, user["graph_uuid"], " ".join(one["content"] for one in said))
        return Answer(200, {"context": _text(facts[:_MOST_IN_TEXT])})

    def _update(self, call: Call) -> Answer:
        """Change a fact at once; its text on every fact of its hyperedge, its attributes here alone."""
        edge, body = self._finder.in_graph(call, "edge", "part"), call.decode(_BODY)
        changed = dict(edge)
        if body.get("attributes") is not None:
            merged = {**(edge.get("attributes") or {}), **body["attributes"]}
            left = {name: value for name, value in merged.items() if value is not None}
            changed["attributes"] = check_metadata(left, "attributes", takes_lists=False)
        rows = [changed]
        if body.get("fact") is not None:
            fact = check_text(body["fact"], self._emulator.settings.fact_chars, "fact")
            rows = [{**one, "fact": fact} for one in (changed, *self._members(call, edge))]
        self._emulator.store.add(call.identity, "edge", rows, now=self._emulator.clock())
        return Answer(200, rows[0])

    def _members(self, call: Call, edge: Mapping[str, Any]) -> list[dict[str, Any]]:
        hyperedge = edge.get("hyperedge_uuid")
        store = self._emulator.store
        uuids = store.having(call.identity, "edge", "hyperedge_uuid", hyperedge) if hyperedge else []
        return [store.get(call.identity, "edge", one) or {} for one in uuids if one != edge["uuid"]]

    def _ranked(self, call: Call, graph: str, query: str) -> list[dict[str, Any]]:
        asked = _words(query)
        listing = Query(call.identity, "edge", graph, "uuid", is_descending=False)
        rows = [
            msgspec.json.decode(body) for _, body in self._emulator.store.page(listing, None, _EVERYTHING)
        ]
        scored = [(len(asked & _words(one.get("fact") or "")) / len(asked), one) for one in rows]
        best = sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])
        return [{**one, "score": score} for score, one in best]


def _query(call: Call) -> str:
    query = call.decode(_BODY).get("query")
    if not isinstance(query, str) or not _words(query):
        raise RefusedError(400, {"code": "invalid_request", "message": "query is required", "param": "query"})
    return query


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _text(facts: Sequence[Mapping[str, Any]]) -> str:
    """Return a block as Zep writes it: facts with the time for which they hold."""
    lines = [
        f"- {one['fact']} ({one.get('valid_at') or 'date unknown'} - {one.get('invalid_at') or 'present'})"
        for one in facts
    ]
    return "\n".join(("<FACTS>", *lines, "</FACTS>")) if lines else ""
