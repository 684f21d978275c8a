"""Graphiti's tables in a Kuzu file, as its catalogue has them: they differ from version to version.

| made by graphiti-core | tables |
|---|---|
| 0.19 to 0.27 | no sagas, and no `reference_time` of a fact |
| 0.28 | with sagas |
| 0.29 to 0.31 | with `RelatesToNode_.reference_time` |

(`SCHEMA_QUERIES` of one version after the other, compared.) A later Graphiti that opens the file adds the
tables that are missing, never a column: a graph keeps the columns of the version that made it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from memxfer.spi import ConfigError, format_time
from memxfer_graphiti.config import Unit, WriteAs
from memxfer_graphiti.engines.base import TABLES
from memxfer_graphiti.engines.kuzu_file import KuzuFile

__all__ = ["LABELS", "PATTERN", "Tables"]

LABELS: Final = {
    "facts": "RelatesToNode_",
    "episodes": "Episodic",
    "entities": "Entity",
    "communities": "Community",
}
PATTERN: Final = "(n:Entity)-[:RELATES_TO]->(e:RelatesToNode_)-[:RELATES_TO]->(m:Entity)"

_BASE: Final = frozenset({*LABELS.values(), "RELATES_TO"})
_GRAPHITI: Final = _BASE | {"MENTIONS", "HAS_MEMBER", "Saga", "HAS_EPISODE", "NEXT_EPISODE"}
_KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "facts": {
        **dict.fromkeys(("uuid", "group_id", "name", "fact", "attributes"), "STRING"),
        **dict.fromkeys(
            ("created_at", "valid_at", "invalid_at", "expired_at", "reference_time"), "TIMESTAMP"
        ),
        "episodes": "STRING[]",
        "fact_embedding": "FLOAT[]",
    },
    "episodes": {
        **dict.fromkeys(("uuid", "group_id", "name", "source", "source_description", "content"), "STRING"),
        **dict.fromkeys(("created_at", "valid_at"), "TIMESTAMP"),
        "entity_edges": "STRING[]",
    },
    "entities": {
        **dict.fromkeys(("uuid", "group_id", "name", "summary", "attributes"), "STRING"),
        "labels": "STRING[]",
        "created_at": "TIMESTAMP",
        "name_embedding": "FLOAT[]",
    },
    "communities": {
        **dict.fromkeys(("uuid", "group_id", "name", "summary"), "STRING"),
        "created_at": "TIMESTAMP",
        "name_embedding": "FLOAT[]",
    },
}
_VECTORS: Final = frozenset({"fact_embedding", "name_embedding"})
_LATER: Final = "reference_time"
_OLD: Final = "made by graphiti-core before 0.29"
_NEEDED: Final = {
    "facts": ("uuid", "group_id", "fact"),
    "episodes": ("uuid", "group_id", "content"),
    "entities": ("uuid", "group_id", "summary"),
    "communities": ("uuid", "group_id", "summary"),
}
"""Columns without which a row is no memory, or nobody's."""
_WRITTEN: Final[Mapping[WriteAs, tuple[str, ...]]] = {
    "auto": ("facts", "entities", "episodes"),
    "fact": ("facts", "entities"),
    "episode": ("episodes",),
}
_ENDS: Final = ("uuid", "name", "labels")
_is_carried = re.compile(
    r"(STRING|BOOL|U?INT(8|16|32|64|128)|SERIAL|TIMESTAMP(_\w+)?|DATE|UUID)(\[\])?|FLOAT|DOUBLE"
).fullmatch
_is_plain_name = re.compile(r"[A-Za-z_]\w*").fullmatch
_EXTRA: Final = "column_"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one file.

    Attributes:
        path: The file, for messages.
        names: All tables.
        columns: By table of ours, name to type in the catalogue.
    """

    path: str
    names: frozenset[str]
    columns: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, file: KuzuFile) -> Tables:
        """Read the catalogue of an open file."""
        names = frozenset(row["name"] for row in file.query("CALL show_tables() RETURN name"))
        columns = {
            table: {
                row["name"]: row["type"]
                for row in file.query(f"CALL table_info('{label}') RETURN name, type")
            }
            for table, label in LABELS.items()
            if label in names
        }
        return cls(str(file.path), names, columns)

    @property
    def is_complete(self) -> bool:
        """Tell whether it is a graph of Graphiti's."""
        return self.names >= _BASE

    @property
    def can_be_completed(self) -> bool:
        """Tell whether it has no tables but Graphiti's: a database that is new, or was being made."""
        return self.names <= _GRAPHITI

    @property
    def has_reference_time(self) -> bool:
        """Tell whether a fact can say when it occurred."""
        return _LATER in self.columns.get("facts", {_LATER: ""})

    @property
    def has_vectors(self) -> bool:
        """Tell whether a fact has a vector to forget."""
        return "fact_embedding" in self.columns["facts"]

    # -- reading ------------------------------------------------------------------------------

    def check_readable(self, unit: Unit) -> None:
        """See that a unit can be read.

        Raises:
            ConfigError: It is no graph of Graphiti's, or lacks a column that a memory needs.
        """
        if not self.is_complete:
            raise self._no_graph()
        tables = [*TABLES[unit], *(("entities",) if unit == "facts" else ())]
        missing = [
            f"{LABELS[table]}.{name}"
            for table in tables
            for name in (("uuid",) if (unit, table) == ("facts", "entities") else _NEEDED[table])
            if name not in self.columns[table]
        ]
        if missing:
            raise ConfigError(
                f"{self.path}: no {unit} can be read, since these columns are missing: {', '.join(missing)}; "
                "every graph that graphiti-core 0.19 to 0.31 made has them. Name the file that the app uses"
            )

    def returns(self, table: str) -> str:
        """Return what a query for rows of a table gives; columns that are missing are left out."""
        there = self.columns[table]
        known = [f"e.{name} AS {name}" for name in _KNOWN[table] if name in there and name not in _VECTORS]
        extra = [f"e.{name} AS {_EXTRA}{name}" for name in self._carried(table)]
        ends = [
            f"{letter}.{name} AS {end}_{name}"
            for letter, end in (("n", "source"), ("m", "target"))
            for name in _ENDS
            if table == "facts" and name in self.columns["entities"]
        ]
        return ", ".join((*known, *extra, *ends))

    def row(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of such a query, columns that are not Graphiti's in a mapping `columns`."""
        extra = {name: row[f"{_EXTRA}{name}"] for name in self._carried(table)}
        found = {name: _told(value) for name, value in extra.items() if value is not None}
        return {**row, "columns": found} if extra else dict(row)

    def reading_notes(self, unit: Unit) -> list[str]:
        """Return what a reader should know of the tables of a unit."""
        return [note for table in TABLES[unit] for note in self._notes(table)]

    def _notes(self, table: str) -> Iterator[str]:
        label, there = LABELS[table], self.columns[table]
        missing = [name for name in _KNOWN[table] if name not in there and name not in _VECTORS]
        if missing == [_LATER]:
            yield f"{_OLD}: {label} has no {_LATER}, which is read as empty"
        elif missing:
            yield f"{label} has no {', '.join(missing)}: read as empty"
        carried = self._carried(table)
        if carried:
            yield (
                f"{label} has columns that graphiti-core 0.31 does not know ({', '.join(carried)}): they are "
                "carried in extensions.graphiti.columns"
            )
        unread = [f"{name} {kind}" for name, kind in self._unknown(table).items() if name not in carried]
        if unread:
            yield f"{label} has columns that are not read: {', '.join(unread)}"

    def _unknown(self, table: str) -> dict[str, str]:
        return {name: kind for name, kind in self.columns[table].items() if name not in _KNOWN[table]}

    def _carried(self, table: str) -> list[str]:
        unknown = self._unknown(table).items()
        return [name for name, kind in unknown if _is_carried(kind) and _is_plain_name(name)]

    # -- writing ------------------------------------------------------------------------------

    def check_writable(self, write: WriteAs) -> None:
        """See that records can be stored, or that the tables can be made first.

        Raises:
            ConfigError: It is a database of something else, or lacks a column that has to be written.
        """
        if not self.is_complete:
            if not self.can_be_completed:
                raise self._no_graph()
            return
        problems = [problem for table in _WRITTEN[write] for problem in self._unfit(table)]
        if problems:
            raise ConfigError(
                f"{self.path}: nothing can be written into this graph: {'; '.join(problems)}. Every graph "
                "that graphiti-core 0.19 to 0.31 made has these columns; add them (ALTER TABLE ... ADD ...), "
                "or name another file"
            )

    def _unfit(self, table: str) -> Iterator[str]:
        label, there = LABELS[table], self.columns[table]
        for name, kind in _KNOWN[table].items():
            if name in there and there[name] != kind and name not in _VECTORS:
                yield f"{label}.{name} is {there[name]}, not {kind}"
            elif name not in there and name != _LATER and name not in _VECTORS:
                yield f"{label} has no column {name} ({kind})"

    def writing_notes(self, write: WriteAs) -> Sequence[str]:
        """Return what a writer should know of them."""
        if self.has_reference_time or write == "episode":
            return ()
        where = "when a fact occurred is kept in its attribute memxfer"
        return [f"{_OLD}: {LABELS['facts']} has no {_LATER}; {where}"]

    def _no_graph(self) -> ConfigError:
        missing = ", ".join(sorted(_BASE - self.names))
        there = f"it has {_some(self.names)}" if self.names else "it has no tables at all"
        return ConfigError(
            f"{self.path}: a Kuzu database without Graphiti's tables ({missing}); {there}. Name the file "
            "that the app uses"
        )


def _some(names: Collection[str]) -> str:
    first = sorted(names)[:5]
    return f"{', '.join(first)}{', ...' if len(names) > len(first) else ''}"


def _told(value: Any) -> Any:
    """Return a value of a column as JSON has it."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    return str(value) if isinstance(value, date | UUID) else value
