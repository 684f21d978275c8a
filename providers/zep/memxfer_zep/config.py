"""What a Zep connection can say."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from memxfer.spi import RemoteConfig, decision

__all__ = ["API_PATH", "ASSIGN", "DEFAULT_BASE_URL", "NAME", "Form", "Unit", "ZepConfig"]

NAME = "zep"
"""The provider's name."""

DEFAULT_BASE_URL = "https://api.getzep.com"
"""The vendor's host (zep-cloud 4.0.1, `ZepEnvironment.DEFAULT`, without its path)."""

API_PATH = "/api/v4"
_OLD_PATH = "/api/v2"

ASSIGN = "assign:"

Unit = Literal["facts", "episodes", "messages", "summaries"]
Form = Literal["fact", "episode", "message"]


def _is_one_name(names: frozenset[str] | None) -> frozenset[str] | None:
    if names is not None and not all(names):
        raise ValueError("must name at least one, and none of them empty")
    return names


Names = Annotated[frozenset[str] | None, Field(min_length=1), AfterValidator(_is_one_name)]


class ZepConfig(RemoteConfig):
    """One Zep project: one API key is one project."""

    unit: Unit = decision(
        "facts",
        description="what is one memory: facts, episodes (raw texts and turns), messages (turns of threads) "
        "or summaries; one only, since the others tell the same things again",
    )
    current_only: bool = decision(
        False, description="leave out facts that have ended or were superseded; they are counted"
    )
    users: Names = decision(
        None,
        description="only these users, by user_id or uuid; and no standalone graphs unless graphs says so",
    )
    graphs: Names = decision(
        None,
        description="only these standalone graphs, by graph_id or uuid; and no users unless users says so",
    )
    fact_episodes: int = decision(
        0,
        ge=0,
        le=10,
        description="episodes of each fact whose metadata the fact gets, the first so many; each costs a "
        "request, once",
    )
    project: str | None = Field(
        None,
        min_length=1,
        description="name of the project in document keys; default: its uuid. Needed where the key may not "
        "read the project",
    )

    write: Literal["auto", "fact", "episode", "message"] = decision(
        "auto",
        description="as a target, what a record becomes: a fact (stored as it is, no model), an episode (Zep "
        "extracts from it), a message (a turn of a thread), or auto, which decides for each",
    )
    container: Literal["owner", "graph-per-job"] = decision(
        "owner",
        description="as a target, where facts and episodes go: into the graph of their owner, or all into "
        "one standalone graph made for the job, which one delete removes again",
    )
    unscoped: str | None = decision(
        None,
        pattern=r"^(skip|assign:[^\s][^\n]*)$",
        description="as a target, records without user and group: skip, or assign:USER",
    )
    undated: Literal["skip", "send"] | None = decision(
        None,
        description="as a target, episodes and messages without any date: skip, or send (Zep takes the "
        "moment of the move for when they happened); undecided blocks the job",
    )
    fact_chars: int = decision(250, ge=1, description="as a target, characters of a fact")
    fact_name_chars: int = decision(50, ge=1, description="as a target, characters of a relation's name")
    node_name_chars: int = decision(50, ge=1, description="as a target, characters of an entity's name")
    message_chars: int = decision(4_096, ge=1, description="as a target, characters of a message")
    episode_chars: int = decision(10_000, ge=1, description="as a target, characters of an episode")

    @property
    def url(self) -> str:
        """Address of the API: the service's with the version's path."""
        base = self.base_url or DEFAULT_BASE_URL
        return base if base.endswith(API_PATH) else base + API_PATH

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.base_url and self.base_url.endswith(_OLD_PATH):
            raise ValueError(
                f"base_url ends in {_OLD_PATH}, the API of Zep v3; memxfer speaks v4 only. Leave the path out"
            )
        if self.unit != "facts" and self.current_only:
            raise ValueError(f'current_only is for unit = "facts"; {self.unit} do not end. Remove it')
        if self.unit != "facts" and self.fact_episodes:
            raise ValueError(f'fact_episodes is for unit = "facts"; {self.unit} have their own metadata')
        if self.write == "message" and self.container != "owner":
            raise ValueError("container is set, but messages go into threads of their users; remove it")
        if self.unit == "messages" and self.graphs is not None:
            raise ValueError(
                'graphs is set, but standalone graphs have no messages; use unit = "episodes", or remove it'
            )
        return self
