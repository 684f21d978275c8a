"""A Mem0 store to try memxfer on: written by the real library, offline and without a key."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memxfer.spi import ConfigError
from memxfer_mem0.embedding import LocalEmbedder
from memxfer_mem0.sample_texts import AGENTS, CORRECTIONS, USERS, fact, long_text, message, procedure
from memxfer_mem0.sdk import import_mem0

__all__ = ["write_sample_store"]

_DIMS = 64
_COLLECTION = "memories"
_FIRST_DAY = datetime(2024, 1, 8, 9, 0, tzinfo=UTC)
_DAYS = 1000
_LONG = 60_000
_DELETED = 3
_TOPICS = ("travel", "food", "home", "work", "health")


class _Script:
    """Stands in for the app's LLM: says what the sample wants it to say."""

    def __init__(self) -> None:
        self.answer = ""

    def generate_response(self, messages: list[dict[str, str]], **options: Any) -> str:
        """Return the next answer; Mem0 asks here for the facts of a conversation."""
        del messages, options
        return self.answer


def write_sample_store(folder: Path, *, count: int = 1200, seed: int = 7) -> Path:
    """Write a Mem0 store with invented memories, its history, and its app's config next to it.

    Embedded Qdrant and SQLite, filled through `mem0.Memory`: facts, raw messages and procedures in
    ten languages, of eight users and three agents, some of agents alone, with sessions, nested
    metadata, expired rows, updates, emoji and one text of 60 kB; three more memories were deleted and
    exist in the history only. Ids are random, as Mem0 makes them;
    everything else but the times of updates follows from `seed`.

    Args:
        folder: Where to write; made when missing. Must not hold a sample already.
        count: Number of memories, at least 50.
        seed: Seed of the invented content.

    Returns:
        Path of the app's config, `mem0.json`, with paths relative to it.

    Raises:
        ConfigError: The folder holds a store already, or `count` is too small.
        ProviderNotInstalledError: mem0ai or qdrant-client is missing.
    """
    if count < 50:
        raise ConfigError("a sample needs at least 50 memories")
    folder.mkdir(parents=True, exist_ok=True)
    config_file = folder / "mem0.json"
    if config_file.exists() or (folder / "qdrant").exists():
        raise ConfigError(f"{folder} holds a Mem0 store already; give an empty folder")
    config = _config()
    script = _Script()
    with _quiet():
        memory = _open(folder, config, script)
        try:
            _fill(memory, script, random.Random(seed), count)  # noqa: S311 - a sample, no secret
        finally:
            memory.vector_store.client.close()
            memory.close()
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return config_file


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Mem0's advice on optional packages off the terminal."""
    logger = logging.getLogger("mem0")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _config() -> dict[str, Any]:
    # A closed port: nothing may be called, and Mem0 wants its parts constructible.
    vendor = {"api_key": "unused", "openai_base_url": "http://127.0.0.1:9/v1"}
    return {
        "vector_store": {
            "provider": "qdrant",
            "config": {
                "collection_name": _COLLECTION,
                "path": "qdrant",
                "embedding_model_dims": _DIMS,
                "on_disk": True,
            },
        },
        "llm": {"provider": "openai", "config": {"model": "gpt-4o-mini", **vendor}},
        "embedder": {
            "provider": "openai",
            "config": {"model": "text-embedding-3-small", "embedding_dims": _DIMS, **vendor},
        },
        "history_db_path": "history.db",
    }


def _open(folder: Path, config: dict[str, Any], script: _Script) -> Any:
    absolute = json.loads(json.dumps(config))
    absolute["vector_store"]["config"]["path"] = str(folder / "qdrant")
    absolute["history_db_path"] = str(folder / "history.db")
    memory = import_mem0("mem0").Memory.from_config(absolute)
    memory.embedding_model = LocalEmbedder(_DIMS)
    memory.llm = script
    # Looked up before each add and told to the LLM, which is a script here: half of the time for nothing.
    memory.vector_store.search = lambda **_: []
    # Nobody misses a sample that a power cut spoils: waiting for the disk would take a minute.
    collection = memory.vector_store.client._client.collections[_COLLECTION]  # noqa: SLF001 - no public way
    for database in (memory.db.connection, collection.storage.storage):
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA journal_mode=MEMORY")
    return memory


def _fill(memory: Any, script: _Script, dice: random.Random, count: int) -> None:
    texts = _Unique()
    ids: list[tuple[str, str]] = []
    for number in range(count):
        moment = _FIRST_DAY + timedelta(days=_DAYS * number / count, seconds=dice.randrange(30_000))
        common = {"created_at": moment.isoformat(), **_metadata(dice, number)}
        if number == 20:
            ids += _add_fact(memory, script, long_text(dice, _LONG), {"user_id": USERS[0]}, common, number)
        elif number % 25 == 7:
            _add_procedure(memory, script, texts.once(procedure(dice)), dice, common)
        elif number % 6 == 4:
            _add_message(memory, texts, dice, common)
        else:
            language, text = fact(dice)
            common["language"] = language
            ids += _add_fact(memory, script, texts.once(text), _scope(dice, number), common, number)
    _update(memory, dice, ids)
    _delete_some(memory)


class _Unique:
    """Mem0 drops a fact that it has already: every text gets a number where it was there before."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def once(self, text: str) -> str:
        """Return `text`, made different from all before it."""
        self._seen[text] += 1
        return text if self._seen[text] == 1 else f"{text} ({self._seen[text]})"


def _metadata(dice: random.Random, number: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"topic": dice.choice(_TOPICS)}
    if number % 4 == 0:
        place = {"lat": round(dice.uniform(-60, 60), 4), "lon": round(dice.uniform(-179, 179), 4)}
        metadata["source"] = {
            "channel": dice.choice(("app", "mail")),
            "place": place,
            "tags": ["a", "ß", "日"],
        }
    if number % 5 == 0:
        metadata |= {"score": dice.random(), "reviewed": dice.random() < 0.5, "attempts": dice.randrange(9)}
    return metadata


def _scope(dice: random.Random, number: int) -> dict[str, str]:
    if number % 17 == 3:
        return {"agent_id": dice.choice(AGENTS)}
    scope = {"user_id": dice.choice(USERS)}
    if number % 3 == 0:
        scope["agent_id"] = dice.choice(AGENTS)
    if number % 2 == 0:
        scope["run_id"] = f"run-{dice.randrange(60):03d}"
    return scope


def _add_fact(
    memory: Any,
    script: _Script,
    text: str,
    scope: dict[str, str],
    metadata: dict[str, Any],
    number: int,
) -> list[tuple[str, str]]:
    script.answer = json.dumps({"memory": [{"text": text, "attributed_to": "user"}]})
    expired = {"expiration_date": f"2025-{number % 12 + 1:02d}-15"} if number % 40 == 12 else {}
    answer = memory.add([{"role": "user", "content": "…"}], **scope, metadata=metadata, **expired)
    return [(row["id"], text) for row in answer["results"]]


def _add_message(memory: Any, texts: _Unique, dice: random.Random, metadata: dict[str, Any]) -> None:
    role, name, text = message(dice)
    turn = {"role": role, "name": name, "content": texts.once(text)}
    scope = {"user_id": dice.choice(USERS), "run_id": f"run-{dice.randrange(60):03d}"}
    memory.add([turn], **scope, metadata=metadata, infer=False)


def _add_procedure(
    memory: Any, script: _Script, text: str, dice: random.Random, metadata: dict[str, Any]
) -> None:
    script.answer = text
    memory.add(
        [{"role": "user", "content": "…"}],
        agent_id=dice.choice(AGENTS),
        metadata=metadata,
        memory_type="procedural_memory",
    )


def _update(memory: Any, dice: random.Random, ids: list[tuple[str, str]]) -> None:
    """Change an eighth of the facts, some of them twice."""
    chosen = dice.sample(ids, len(ids) // 8)
    for number, (memory_id, text) in enumerate(chosen):
        changed = text + dice.choice(CORRECTIONS)
        memory.update(memory_id, text=changed, metadata={"edited": True})
        if number % 3 == 0:
            memory.update(memory_id, text=f"{changed} ({number})")


def _delete_some(memory: Any) -> None:
    """Add and delete memories that then exist in the history only."""
    for number in range(_DELETED):
        turn = {"role": "user", "content": f"Forget this note, number {number + 1}"}
        added = memory.add([turn], user_id=USERS[number], infer=False)
        memory.delete(added["results"][0]["id"])
