"""What a `mem0-oss` connection can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from memxfer.spi import ConnectionConfig, decision

__all__ = ["Mem0OssConfig"]


class Mem0OssConfig(ConnectionConfig):
    """An open-source Mem0 store, described by the dict that its app gives to `Memory.from_config`."""

    config_file: Path | None = Field(
        None, description="JSON or YAML file with the dict that the app gives to Memory.from_config"
    )
    memory: dict[str, Any] | None = Field(
        None, repr=False, description="the same dict, written here instead of in a file"
    )
    namespace: str | None = Field(
        None,
        min_length=1,
        description="stable name of the store in document keys; default: its collection, on a server "
        "also host and database",
    )
    with_vectors: bool = Field(False, description="read the embeddings too (large)")
    reuse_vectors: bool = decision(
        False,
        description="as a target: keep embeddings of the same model and size instead of embedding again",
    )
    embedder: Literal["app", "local"] = Field(
        "app",
        description="as a target: the app's own embedder, or a local stand-in without meaning for rehearsals",
    )
    upgrade: bool = decision(
        False,
        description="as a target: the store may be brought into the form of the installed qdrant-client, "
        "chromadb or Mem0, though an app with the older one that made it may then be unable to open it",
    )
    trust_listing: bool = decision(
        False,
        description="as a source, for vector stores that are read through Mem0's own listing and do not "
        "count their rows: take it for the whole store; compare the number of rows with the vendor's first",
    )
    unscoped: str | None = decision(
        None,
        pattern=r"^(skip|assign:\S+)$",
        description="as a target, records without user, agent and session: skip, or assign:USER",
    )

    @model_validator(mode="after")
    def _one_description(self) -> Mem0OssConfig:
        if (self.config_file is None) == (self.memory is None):
            raise ValueError("give either config_file or memory, and not both")
        return self
