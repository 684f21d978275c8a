"""Records as what Zep takes: facts, episodes, or the turns of a thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from memxfer.spi import (
    Container,
    MemoryRecord,
    Prepared,
    RecordError,
    Refused,
    Relation,
    Skipped,
    format_time,
)
from memxfer_zep.bodies import Made, date_of, finished, fixed_marks, oversize, refused, text_of, without_date
from memxfer_zep.config import NAME, Form, ZepConfig
from memxfer_zep.mapping import HAS_MEMORY
from memxfer_zep.marks import KEY, PREDICATE, SESSION, packed
from memxfer_zep.owners import Place, ends_of, entity, place_of
from memxfer_zep.turns import is_conversation, message

__all__ = ["document_of"]

_FACT_KINDS = ("fact", "preference")


def document_of(
    record: MemoryRecord, key: str, envelope: Mapping[str, Any], *, config: ZepConfig
) -> Prepared:
    """Map one record to one document, or say why not.

    Args:
        record: The record.
        key: Its key, which goes along as `memxfer_key`.
        envelope: What Zep cannot hold; goes along as JSON text where one of the 10 keys is left.
        config: The connection's decisions and limits.

    Returns:
        A `Document`, whose body is JSON: `form` and what that takes. `Skipped` by decision (`unscoped`,
        `undated`, `oversize`); `Refused` with code `empty`, `scope_id`, `no_turns`, `role`, or, with
        remedies, `unscoped`, `undated`, `too_large`.

    Raises:
        RecordError: The record holds what JSON cannot carry (`unencodable`).
    """
    text = text_of(record)
    if not text.strip():
        return refused("empty", "the record has no text")
    try:
        form = config.write if config.write != "auto" else _form_of(record, text, config)
        made = _MAKERS[form](record, key, envelope, config)
        return finished(record, key, made) if isinstance(made, Made) else made
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        reason = f"the record holds what JSON cannot carry ({type(error).__name__})"
        raise RecordError(reason, provider=NAME, operation="prepare", code="unencodable") from error


def _form_of(record: MemoryRecord, text: str, config: ZepConfig) -> Form:
    """Decide what a record becomes, where the connection leaves it open."""
    if is_conversation(record, text, config):
        return "message"
    is_fact = bool(record.relations or record.validity) or record.kind in _FACT_KINDS
    return "fact" if is_fact and len(text) <= config.fact_chars else "episode"


# -- facts --------------------------------------------------------------------------------------


def _fact(
    record: MemoryRecord, key: str, envelope: Mapping[str, Any], config: ZepConfig
) -> Made | Skipped | Refused:
    text, place = text_of(record), place_of(record.scope, config)
    if not isinstance(place, Place):
        return place
    if len(text) > config.fact_chars:
        return oversize("a fact", config.fact_chars, config)
    relation = record.relations[0] if record.relations else None
    name = _fact_name(relation.predicate, config.fact_name_chars) if relation else HAS_MEMORY
    predicate = relation.predicate if relation and relation.predicate != name else None
    more = {PREDICATE: predicate} if predicate else {}
    fixed = fixed_marks(record, key, place.kept, {**more, **_session(record, config)})
    attributes, changes = packed(record.metadata, fixed, envelope, takes_lists=False)
    edge = {
        "fact": text,
        "fact_name": name,
        **_validity(record),
        "attributes": attributes,
        # Zep filters facts by the metadata of the episode that each leaves.
        "metadata": {KEY: key},
    }
    if len(record.relations) > 1:
        changes = (*changes, "relations_cut")
    if record.validity is not None and record.validity.recorded_at is not None:
        changes = (*changes, "recorded_anew")
    return Made(
        body={"form": "fact", "edge": edge},
        containers=_ends(record, relation, place, config),
        owner=place.scope,
        changes=changes,
        lane=f"facts:{place.graph.name}",
    )


def _ends(
    record: MemoryRecord, relation: Relation | None, place: Place, config: ZepConfig
) -> tuple[Container, ...]:
    """Return the graph and the two entities of a fact."""
    if relation is not None and relation.subject and relation.object:
        return (place.graph, *ends_of(relation, place.graph, config))
    kind = entity(place.graph, f"kind:{record.kind}", name=record.kind or "memory", config=config)
    return (place.graph, place.me, kind)


def _fact_name(predicate: str, most: int) -> str:
    """Return a relation's name as Zep writes it: UPPER_SNAKE, ASCII."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", predicate)
    name = re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").upper()
    return name[:most].rstrip("_") or "RELATES_TO"


def _validity(record: MemoryRecord) -> dict[str, str]:
    validity = record.validity
    if validity is None:
        return {}
    times = {
        "valid_at": validity.valid_from,
        "invalid_at": validity.valid_to,
        "expired_at": validity.invalidated_at,
    }
    return {name: format_time(at) for name, at in times.items() if at is not None}


# -- episodes -----------------------------------------------------------------------------------


def _episode(
    record: MemoryRecord, key: str, envelope: Mapping[str, Any], config: ZepConfig
) -> Made | Skipped | Refused:
    text, place = text_of(record), place_of(record.scope, config)
    if not isinstance(place, Place):
        return place
    if len(text) > config.episode_chars:
        return oversize("an episode", config.episode_chars, config)
    date = date_of(record)
    if date is None and config.undated != "send":
        return without_date(config)
    metadata, changes = packed(
        record.metadata,
        fixed_marks(record, key, place.kept, _session(record, config)),
        envelope,
        takes_lists=True,
    )
    episode: dict[str, Any] = {"data": text, "type": "text", "metadata": metadata}
    if date is not None:
        episode["reference_time"] = format_time(date)
    else:
        changes = (*changes, "dated_today")
    if config.write == "auto":  # the connection says of these what facts keep
        changes = (*changes, *_left_out(record))
    return Made(
        body={"form": "episode", "episode": episode},
        containers=(place.graph,),
        owner=place.scope,
        changes=changes,
        lane=f"episode:{key}",
    )


def _session(record: MemoryRecord, config: ZepConfig) -> dict[str, str]:
    """Return the mark of a session that no thread stands for, where the connection promises one."""
    return {SESSION: record.scope.session} if config.write == "auto" and record.scope.session else {}


def _left_out(record: MemoryRecord) -> tuple[str, ...]:
    """Return the words for what a fact would have kept and an episode does not."""
    lost = {"validity_dropped": record.validity is not None, "relations_dropped": bool(record.relations)}
    return tuple(word for word, is_lost in lost.items() if is_lost)


_Maker = Callable[[MemoryRecord, str, Mapping[str, Any], ZepConfig], Made | Skipped | Refused]
_MAKERS: Final[Mapping[Form, _Maker]] = {"fact": _fact, "episode": _episode, "message": message}
