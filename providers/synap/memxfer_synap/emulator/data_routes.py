"""`/v1/data/delete`: everything of one user, conversation or customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .memories_routes import uuid_of
from .scoping import Owner, ScopeError, owner_of
from .store import StoredDocument

if TYPE_CHECKING:
    from .emulator import SynapEmulator


class _Delete(msgspec.Struct):
    scope: Literal["user", "conversation", "customer"]
    instance_id: str | None = None
    user_id: str | None = None
    customer_id: str | None = None
    conversation_id: str | None = None
    dry_run: bool = False
    confirm: str | None = None

    @property
    def target(self) -> str | None:
        return {"user": self.user_id, "customer": self.customer_id, "conversation": self.conversation_id}[
            self.scope
        ]


_DECODER = msgspec.json.Decoder(_Delete)


class DataRoutes:
    """Scope deletes, at most `delete_cap` documents a call; `continue` says that there is more."""

    def __init__(self, emulator: SynapEmulator) -> None:
        self._emulator = emulator

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("POST", "/v1/data/delete", self._delete),
            Endpoint("GET", "/v1/data/delete/{deletion_id}", self._status),
        ]

    def _delete(self, call: Call) -> Answer:
        asked = call.decode(_DECODER)
        self._check(call, asked)
        if asked.scope == "conversation":
            return self._delete_conversation(call, asked)
        documents = self._documents(call, asked)
        cap = self._emulator.settings.delete_cap
        now, more = (documents, False) if asked.dry_run else (documents[:cap], len(documents) > cap)
        memories = sum(len(self._emulator.store.memories(document)) for document in now)
        body = self._body(asked, {"documents": len(now), "memories": memories}, is_more=more)
        if not asked.dry_run:
            self._commit(call, asked, now, body)
        return Answer(200, body)

    def _check(self, call: Call, asked: _Delete) -> None:
        if asked.instance_id and asked.instance_id != call.identity.instance_id:
            raise RefusedError(403, "This key belongs to another instance")
        if asked.scope == "customer" and call.identity.is_b2c:
            raise RefusedError(400, "scope=customer is not available on this instance (B2C)")
        if asked.scope == "customer" and not call.identity.management:
            raise RefusedError(403, "scope=customer needs a management key")
        if not asked.target:
            raise RefusedError(400, f"{asked.scope}_id is required for scope={asked.scope}")
        if not asked.dry_run and asked.confirm != asked.target:
            raise RefusedError(400, f"confirm must equal the {asked.scope}_id being deleted")

    def _documents(self, call: Call, asked: _Delete) -> list[StoredDocument]:
        store = self._emulator.store
        instance = call.identity.instance_id
        if asked.scope == "user":
            return list(store.owned(instance, self._owner(call, asked)))
        return list(store.owned_by_customer(instance, asked.customer_id or ""))

    def _drop_conversations(self, call: Call, asked: _Delete) -> None:
        user = self._owner(call, asked) if asked.scope == "user" else None
        conversations = self._emulator.conversations
        instance = call.identity.instance_id
        doomed = conversations.owned(
            instance, lambda owner: owner == user if user else owner.customer_id == asked.customer_id
        )
        for conversation_id in doomed:
            conversations.drop(instance, conversation_id)

    def _owner(self, call: Call, asked: _Delete) -> Owner:
        try:
            return owner_of(call.identity, asked.user_id, asked.customer_id)
        except ScopeError as error:
            raise RefusedError(400, str(error)) from error

    def _delete_conversation(self, call: Call, asked: _Delete) -> Answer:
        conversation_id = uuid_of({"conversation_id": asked.conversation_id}, "conversation_id")
        instance = call.identity.instance_id
        turns = self._emulator.conversations.count(instance, conversation_id)
        body = self._body(asked, {"turns": turns}, is_more=False)
        body["memories_kept"] = True
        if not asked.dry_run:
            with self._emulator.store.state.transaction():
                self._emulator.conversations.drop(instance, conversation_id)
                self._record(instance, body)
        return Answer(200, body)

    def _commit(
        self, call: Call, asked: _Delete, documents: Sequence[StoredDocument], body: dict[str, Any]
    ) -> None:
        with self._emulator.store.state.transaction():
            self._emulator.store.retire(document.seq for document in documents)
            self._drop_conversations(call, asked)
            self._record(call.identity.instance_id, body)

    def _record(self, instance: str, body: dict[str, Any]) -> None:
        self._emulator.store.db.execute(
            "INSERT INTO deletions VALUES (?, ?, ?)",
            (instance, body["deletion_id"], msgspec.json.encode(body)),
        )

    def _body(self, asked: _Delete, counts: dict[str, int], *, is_more: bool) -> dict[str, Any]:
        return {
            "deletion_id": None if asked.dry_run else str(self._emulator.new_id()),
            "status": "dry_run" if asked.dry_run else "in_progress" if is_more else "complete",
            "scope": asked.scope,
            "dry_run": asked.dry_run,
            "found": any(counts.values()),
            "counts": counts,
            "stores": {},
            "still_present_in": [],
            "fully_removed": not asked.dry_run and not is_more,
            "continue": is_more,
        }

    def _status(self, call: Call) -> Answer:
        row = self._emulator.store.db.execute(
            "SELECT body FROM deletions WHERE instance = ? AND deletion_id = ?",
            (call.identity.instance_id, call.params["deletion_id"]),
        ).fetchone()
        if row is None:
            raise RefusedError(404, "Deletion not found")
        return Answer(200, msgspec.json.decode(row[0]))
