"""How the Zep emulator behaves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memxfer.emulation import EmulatorSettings

__all__ = ["EMULATOR_API_KEY", "ZepSettings"]

EMULATOR_API_KEY = "zep_emulator_key"
"""The key that works on an emulator as it is started; not a secret."""


class ZepSettings(EmulatorSettings):
    """Settings of `ZepEmulator`; every one can change while it runs."""

    keys: tuple[str, ...] = Field(default=(EMULATOR_API_KEY,), description="each is a project of its own")
    api: Literal["v4", "v3"] = Field(
        default="v4", description="v3: an account of the older API, which knows no route below /api/v4"
    )
    project_uuids: bool = Field(default=True, description="whether the project tells its uuid")
    most_per_page: int = Field(default=100, ge=1, description="largest page_size")
    oversized_pages: Literal["clamp", "reject"] = Field(
        default="clamp", description="what a larger page_size means; Zep does not say"
    )
    lists_user_graphs: bool = Field(
        default=False, description="graphs of users are in the list of graphs too; Zep does not say"
    )
    empty_pages: frozenset[int] = Field(
        default=frozenset(), description="pages of every walk that come empty, with a fresh cursor; from 1"
    )
    drift: Literal["none", "insert", "delete"] = Field(
        default="none", description="what happens to a listing's rows after each page but the last"
    )
    cursor_seconds: float | None = Field(default=None, ge=0, description="age at which a cursor is dead")
    quota_calls: int | None = Field(
        default=None,
        ge=0,
        description="calls of a key, after which it gets 5 a minute, as a free account does",
    )
    task_seconds: float = Field(
        default=0.0, ge=0, description="what a task takes; facts and entities show, and deletes happen, then"
    )
    failing_tasks: frozenset[str] = Field(
        default=frozenset(), description="types of tasks that fail: graph.add_edges, graph.add, ..."
    )
    partial_facts: frozenset[int] = Field(
        default=frozenset(),
        description="facts of a request that its task does not store, by place from 0",
    )
    tasks_name_facts: bool = Field(
        default=True, description="whether the result of a task lists the facts that it stored"
    )
    idempotency_seconds: float = Field(
        default=86_400.0,
        ge=0,
        description="how long a request is known by its Idempotency-Key",
    )
    metadata_filters: bool = Field(
        default=True, description="whether lists of facts and episodes take filters on metadata"
    )
    fact_chars: int = Field(default=250, ge=1, description="most characters of a fact")
    fact_name_chars: int = Field(default=50, ge=1, description="most characters of a relation's name")
    node_name_chars: int = Field(default=50, ge=1, description="most characters of an entity's name")
    message_chars: int = Field(default=4_096, ge=1, description="most characters of a message")
    episode_chars: int = Field(default=10_000, ge=1, description="most characters of an episode")
