"""Whose a record is in Zep, and the containers that its document goes into."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from memxfer.spi import NUL_SIGN, Container, Refused, Relation, Scope, Skipped
from memxfer_zep.bodies import refused
from memxfer_zep.config import ASSIGN, ZepConfig

__all__ = ["Place", "ends_of", "entity", "place_of", "session_thread"]

_MAX_ID = 500
_JOB = "graph:job"


@dataclass(frozen=True, slots=True)
class Place:
    """Where facts and episodes of an owner go.

    Attributes:
        scope: The axes that Zep keeps apart there.
        graph: The container that is, or has, the graph: a user or a standalone graph.
        me: The container of the entity that stands for the owner.
        kept: The owner, where the graph does not tell it.
    """

    scope: Scope
    graph: Container
    me: Container
    kept: str | None = None


def place_of(scope: Scope, config: ZepConfig, *, with_owner: bool = False) -> Place | Skipped | Refused:
    """Return where an owner's memories go.

    Args:
        scope: Whose they are.
        config: The connection's decisions.
        with_owner: With their owner whatever the decisions say: threads have no other place.

    Returns:
        The place; `Skipped` by decision (`unscoped`); `Refused` for `scope_id`, or, with remedies,
        `unscoped`.
    """
    user, group = scope.user, scope.group
    if not all(_is_id(name) for name in (user, group, scope.session) if name is not None):
        return refused(
            "scope_id", "a user, group or session id is empty, over 500 characters or no plain text"
        )
    if config.container == "graph-per-job" and not with_owner:
        return _of_job(user, config)
    if user is None and group is None:
        if config.unscoped is None:
            return refused(
                "unscoped",
                "Zep keeps memories by user or group, and this record has none",
                'unscoped = "skip"',
                'unscoped = "assign:USER"',
            )
        if config.unscoped == "skip":
            return Skipped("unscoped")
        user = config.unscoped.removeprefix(ASSIGN)
    if user is not None:
        graph = Container(f"user:{user}", "user", spec={"user_id": user})
        return Place(Scope(user=user), graph, Container(f"node:{graph.name}", "user_node", within=graph.name))
    graph = Container(f"graph:{group}", "graph", spec={"group": group})
    return Place(Scope(group=group), graph, entity(graph, f"group:{group}", name=str(group), config=config))


def _of_job(user: str | None, config: ZepConfig) -> Place:
    graph = Container(_JOB, "graph", spec={})
    me = entity(graph, f"user:{user or ''}", name=user or "unknown user", config=config)
    # One graph for all: Zep itself cannot tell one owner from another there.
    return Place(Scope(group=_JOB), graph, me, kept=user)


def entity(graph: Container, identity: str, *, name: str, config: ZepConfig) -> Container:
    """Return the container of an entity of a graph.

    Args:
        graph: What has the graph.
        identity: Tells it from the other entities there.
        name: What it is called; cut to what Zep takes, and then whole in its attributes.
        config: The connection's limits.

    Raises:
        UnicodeEncodeError: The name is no text that can be sent.
    """
    identity, name = identity.replace("\0", NUL_SIGN), name.replace("\0", NUL_SIGN)
    f"{identity}{name}".encode()  # what UTF-8 cannot carry is found out now
    most = config.node_name_chars
    spec = {"name": name[:most], **({"full_name": name} if len(name) > most else {})}
    return Container(f"node:{graph.name}/{identity}", "node", within=graph.name, spec=spec)


def ends_of(relation: Relation, graph: Container, config: ZepConfig) -> tuple[Container, Container]:
    """Return the containers of the two entities of a relation; ids tell namesakes apart."""
    ends = ((relation.subject, relation.subject_id), (relation.object, relation.object_id))
    first, second = (
        entity(graph, f"id:{identifier}" if identifier else f"name:{name}", name=name, config=config)
        for name, identifier in ends
    )
    return first, second


def session_thread(user: str, session: str) -> tuple[Container, Container]:
    """Return the containers of a conversation: its user and its thread."""
    owner = Container(f"user:{user}", "user", spec={"user_id": user})
    name = f"thread:{quote(user, safe='')}/{quote(session, safe='')}"
    return owner, Container(name, "thread", within=owner.name)


def _is_id(text: str) -> bool:
    if not text.strip() or len(text) > _MAX_ID or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
