"""`/v1/context/*` and the user's profile: reading for a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .conversations import Conversation
from .ingest import iso
from .memories_routes import uuid_of
from .ranking import Hit, rank
from .scoping import Level, Owner, ScopeError, owner_of
from .store import Memory

if TYPE_CHECKING:
    from .emulator import SynapEmulator

_LISTS = {
    "fact": "facts",
    "preference": "preferences",
    "episode": "episodes",
    "emotion": "emotions",
    "temporal_event": "temporal_events",
}
_TTL_SECONDS = 300


class _Fetch(msgspec.Struct):
    user_id: str | None = None
    customer_id: str | None = None
    conversation_id: str | None = None
    scope: dict[str, str] | None = None
    search_query: list[str] | str | None = None
    max_results: int | None = None
    types: list[str] | None = None
    response_shape: Literal["by_type", "ranked"] = "by_type"
    include_conversation_context: bool = True

    @property
    def queries(self) -> list[str]:
        if isinstance(self.search_query, str):
            return [self.search_query]
        return self.search_query or []


_DECODER = msgspec.json.Decoder(_Fetch)


class ContextRoutes:
    """Context fetches of the four levels.

    Which levels one reads is the setting `fetch_levels`. A conversation is its owner's: its fetch reads what
    the owner's does.
    """

    def __init__(self, emulator: SynapEmulator) -> None:
        self._emulator = emulator

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("POST", "/v1/context/user/fetch", lambda call: self._fetch(call, "user")),
            Endpoint("POST", "/v1/context/customer/fetch", lambda call: self._fetch(call, "customer")),
            Endpoint("POST", "/v1/context/client/fetch", lambda call: self._fetch(call, "client")),
            Endpoint("POST", "/v1/context/conversation/fetch", self._fetch_conversation),
            Endpoint("GET", "/v1/users/{user_id}/profile", self._profile),
        ]

    def _fetch(self, call: Call, level: Level) -> Answer:
        self._emulator.require_ready()
        asked = call.decode(_DECODER)
        owner = self._owner(call, asked, level)
        instance = call.identity.instance_id
        return self._answer(
            asked, self._emulator.readable_at(instance, owner), self._recent(instance, asked, owner)
        )

    def _recent(self, instance: str, asked: _Fetch, owner: Owner) -> dict[str, Any] | None:
        """Return the state of the conversation that a fetch names beside its owner, if it is the owner's."""
        if not asked.conversation_id or not asked.include_conversation_context:
            return None
        conversation_id = uuid_of({"conversation_id": asked.conversation_id}, "conversation_id")
        found = self._emulator.conversations.find(instance, conversation_id)
        return self._state(instance, found) if found and found.owner_key == owner.key else None

    def _state(self, instance: str, conversation: Conversation) -> dict[str, Any]:
        turns = self._emulator.conversations.turns(
            instance, conversation.conversation_id, start=1, limit=1000
        )
        said = turns[0]["content"] if conversation.seq and turns else None
        return {
            "conversation_id": conversation.conversation_id,
            "summary": f"A conversation that began with: {said}" if said else None,
            "recent_turns": turns[-10:],
        }

    def _owner(self, call: Call, asked: _Fetch, level: Level) -> Owner:
        user_id = asked.user_id if level == "user" else None
        customer_id = None if level == "client" else asked.customer_id
        try:
            owner = owner_of(call.identity, user_id, customer_id, asked.scope)
        except ScopeError as error:
            raise RefusedError(400, str(error)) from error
        if owner.level != level:
            raise RefusedError(400, f"{level}_id is required to fetch a {level}'s context")
        return owner

    def _fetch_conversation(self, call: Call) -> Answer:
        self._emulator.require_ready()
        asked = call.decode(_DECODER)
        conversation_id = uuid_of({"conversation_id": asked.conversation_id}, "conversation_id")
        instance = call.identity.instance_id
        conversation = self._emulator.conversations.find(instance, conversation_id)
        if conversation is None:
            raise RefusedError(404, "Conversation not found: only ingested or recorded ones are registered")
        memories = self._emulator.readable_at(instance, Owner.from_key(conversation.owner_key))
        recent = self._state(instance, conversation) if asked.include_conversation_context else None
        return self._answer(asked, memories, recent)

    def _answer(self, asked: _Fetch, memories: list[Memory], conversation: dict[str, Any] | None) -> Answer:
        retrieval = self._emulator.settings.retrieval
        found = [] if retrieval and retrieval.level == "failed" else self._hits(asked, memories)
        items = [self._item(hit, rank_) for rank_, hit in enumerate(found, 1)]
        ranked = asked.response_shape == "ranked"
        body: dict[str, Any] = {
            "context": {"items": items} if ranked else _by_type(items),
            "ttl_seconds": _TTL_SECONDS,
        }
        if conversation is not None:
            body["conversation_context"] = conversation
        if retrieval:
            body["retrieval"] = retrieval.model_dump()
        return Answer(200, body)

    def _hits(self, asked: _Fetch, memories: list[Memory]) -> list[Hit]:
        wanted = set(asked.types or ["all"])
        chosen = [one for one in memories if "all" in wanted or _LISTS[one.memory_type] in wanted]
        limit = asked.max_results if asked.max_results is not None else 10
        return rank(chosen, asked.queries)[: max(limit, 0)]

    def _item(self, hit: Hit, position: int) -> dict[str, Any]:
        document = hit.memory.source.decoded()
        return {
            "id": hit.memory.memory_id,
            "rank": position,
            "category": _LISTS[hit.memory.memory_type],
            "content": hit.memory.content,
            "confidence": 0.9,
            "source": "memories",
            "extracted_at": iso(self._emulator.processing().done_at(hit.memory.source)),
            "metadata": {**(document.metadata or {}), "rank_score": hit.score},
            "said_at": document.document_created_at,
            "event_date": None,
            "valid_until": None,
            "temporal_category": "perpetual",
            "temporal_confidence": 0.5,
            "matched_queries": list(hit.queries),
        }

    def _profile(self, call: Call) -> Answer:
        """Answer with the newest memories as the overview; there are no client-defined attributes."""
        try:
            owner = owner_of(call.identity, call.params["user_id"], call.query.get("customer_id"))
        except ScopeError as error:
            raise RefusedError(400, str(error)) from error
        memories = self._emulator.memories_of(call.identity.instance_id, owner)
        if not memories:
            raise RefusedError(404, "No profile for this user")
        overview = " ".join(memory.content for memory in memories[-3:])
        return Answer(200, {"profile": {"attributes": {}, "overview": overview, "extras": {}, "_meta": {}}})


def _by_type(items: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS.values()}
    for item in items:
        lists[item["category"]].append(item)
    return lists
