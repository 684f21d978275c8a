"""Postgres with pgvector: one table per collection, `(id uuid, vector vector, payload jsonb)`.

Supabase's `vecs` keeps the same in a schema of its own, as `(id varchar, vec vector, metadata jsonb)`: read
only. Mem0 lists it by a similarity query of at most 1,000 rows, which is not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    ProviderError,
    UnavailableError,
)
from memxfer_mem0.application import PgvectorSettings, SupabaseSettings
from memxfer_mem0.sdk import import_sdk
from memxfer_mem0.stores.base import (
    KEY,
    PROVIDER,
    Access,
    MissingStoreError,
    Place,
    Row,
    VectorStore,
    make_cursor,
    parse_cursor,
)

__all__ = ["PgvectorStore", "SupabaseStore"]

_MAX_INDEXED = 2000
"""Most numbers of a vector that pgvector's HNSW index takes."""


class PgvectorStore(VectorStore):
    """A table; reads are single statements, a write is one transaction."""

    _schema: ClassVar[tuple[str, ...]] = ()
    _columns_of: ClassVar[tuple[str, str, str]] = ("id", "vector", "payload")
    _first: ClassVar[str] = "00000000-0000-0000-0000-000000000000"
    """An id before which there is none."""

    def __init__(self, settings: PgvectorSettings | SupabaseSettings, access: Access) -> None:
        self._psycopg = import_sdk("psycopg")
        self._sql = import_sdk("psycopg.sql")
        self._settings = settings
        try:
            conninfo = _conninfo(self._psycopg, settings)
            self._connection = self._psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
        except self._psycopg.Error as error:
            raise self._refused(error) from error
        self._table = self._sql.Identifier(*self._schema, settings.collection_name)
        self.place = self._place()
        try:
            self._open(access)
        except self._psycopg.Error as error:
            self.close()
            reason = f"Postgres cannot open the table {settings.collection_name!r}: {_state(error)}"
            raise ConfigError(reason) from error
        except ConfigError:
            self.close()
            raise

    def _refused(self, error: Any) -> ProviderError | ConfigError:
        if isinstance(error, self._psycopg.ProgrammingError):
            return ConfigError("vector_store.config: the connection to Postgres is not described correctly")
        if "authentication" in str(error):
            return AuthError("Postgres refuses user or password", provider=PROVIDER, operation="connect")
        return UnavailableError(
            f"Postgres does not answer ({type(error).__name__})", provider=PROVIDER, operation="connect"
        )

    def _place(self) -> Place:
        info = self._connection.info
        name = f"{info.dbname}/{self._settings.collection_name}"
        # A socket's folder differs between machines, and so is no part of a key; it is a place on this one.
        host = "" if info.host.startswith("/") else f"{info.host}:{info.port}/"
        socket = "" if host else f"{Path(info.host).resolve()}:{info.port}#{name}"
        return Place(f"{host}{name}", f"Postgres {host}{name} ({self._settings.kind})", socket)

    def _open(self, access: Access) -> None:
        name = self._settings.collection_name
        if access is Access.LOOK:
            entities = f"{name}_entities"
            dims = self._columns(entities).get("vector", 0)
            self.entities = (entities, dims) if dims > 0 else None
        columns = self._columns(name)
        if not columns:
            if access is not Access.WRITE:
                raise MissingStoreError(
                    f"vector_store.config.collection_name: no table {name!r} in database "
                    f"{self._connection.info.dbname!r}{self._alternatives(name)}",
                    self.place,
                    entities=self.entities,
                )
            self._create()
            columns = self._columns(name)
        lacking = sorted(set(self._columns_of) - columns.keys())
        if lacking:
            raise ConfigError(f"the table {name!r} has no column {lacking[0]}: it is not one of Mem0's")
        dims = columns[self._columns_of[1]]
        self.dims = dims if dims > 0 else None
        if access is not Access.READ and self.dims not in (None, self._settings.embedding_model_dims):
            raise ConfigError(
                f"table {name!r} holds vectors of {self.dims} numbers, the app's config says "
                f"embedding_model_dims: {self._settings.embedding_model_dims}"
            )

    def _alternatives(self, name: str) -> str:
        """Return which tables of Mem0's shape there are, and whether one is `name` in small letters.

        Versions of Mem0 that did not quote the name made the table in small letters.
        """
        rows = self._run(
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relkind IN ('r', 'p') AND a.attname = ANY(%s) AND NOT a.attisdropped "
            "AND c.relnamespace = coalesce(to_regnamespace(%s), to_regnamespace(current_schema()))::oid "
            "GROUP BY c.relname HAVING count(*) = %s ORDER BY 1",
            [list(self._columns_of), "".join(self._schema) or None, len(self._columns_of)],
        )
        found = [str(one) for (one,) in rows]
        if name.lower() in found:
            return (
                f"; there is {name.lower()!r}: Postgres makes the letters of a name small where an older "
                f"Mem0 did not quote it; collection_name: {name.lower()} reads it"
            )
        return f"; there are: {', '.join(found) or 'none'}"

    def _columns(self, table: str) -> dict[str, int]:
        """Return the columns of a table, each with its type's length; none where there is no such table."""
        rows = self._run(
            "SELECT attname, atttypmod FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [str(self._sql.Identifier(*self._schema, table).as_string(self._connection))],
        )
        return {str(name): int(length) for name, length in rows}

    def _create(self) -> None:
        # The statements of mem0.vector_stores.pgvector (2.2.1), so that the app finds its own table.
        assert isinstance(self._settings, PgvectorSettings)  # noqa: S101 - nothing else is made
        name, sql = self._settings.collection_name, self._sql
        dims = self._settings.embedding_model_dims or 0
        with self._connection.transaction():
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            self._run(
                sql.SQL("CREATE TABLE {} (id UUID PRIMARY KEY, vector vector({}), payload JSONB)").format(
                    self._table, sql.Literal(dims)
                )
            )
            if self._settings.hnsw and not self._settings.diskann and dims <= _MAX_INDEXED:
                self._run(
                    sql.SQL("CREATE INDEX {} ON {} USING hnsw (vector vector_cosine_ops)").format(
                        sql.Identifier(f"{name}_hnsw_idx"), self._table
                    )
                )
            self._run(
                sql.SQL(
                    "CREATE INDEX {} ON {} USING gin(to_tsvector('simple', payload->>'text_lemmatized'))"
                ).format(sql.Identifier(f"{name}_text_lemmatized_idx"), self._table)
            )

    def _run(self, statement: Any, values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def _one(self, statement: Any, values: Sequence[Any] | None = None) -> Any:
        rows = self._run(statement, values)
        return rows[0][0] if rows else None

    def _on_table(self, text: str) -> Any:
        return self._sql.SQL(text).format(self._table)

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page by id; see `VectorStore.page`."""
        row_id, vector, payload = self._columns_of
        columns = f"{row_id}, {payload}, {vector}::text" if with_vectors else f"{row_id}, {payload}"
        first, after = (">=", self._first) if cursor is None else (">", str(parse_cursor(cursor)))
        found = self._run(
            self._on_table(f"SELECT {columns} FROM {{}} WHERE id {first} %s ORDER BY id LIMIT %s"),  # noqa: S608 - fixed texts
            [after, limit + 1],
        )
        rows = [_row(*values) for values in found[:limit]]
        return rows, make_cursor(rows[-1].id) if len(found) > limit else None

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there; see `VectorStore.get`."""
        found = self._run(
            self._on_table(f"SELECT id, {self._columns_of[2]} FROM {{}} WHERE id::text = ANY(%s)"),  # noqa: S608 - fixed texts
            [list(ids)],
        )
        return {row.id: row for row in (_row(*values) for values in found)}

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return ids by document key; see `VectorStore.find`."""
        answer = self._run(
            self._on_table("SELECT payload->>%s, id::text FROM {} WHERE payload->>%s = ANY(%s)"),
            [KEY, KEY, list(keys)],
        )
        found: dict[str, list[str]] = {}
        for key, row_id in answer:
            found.setdefault(key, []).append(row_id)
        return found

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._one(self._on_table("SELECT count(*) FROM {}")))

    def upsert(self, rows: Sequence[Row], present: Mapping[str, Row]) -> None:
        """Store rows in one transaction."""
        del present
        statement = self._on_table(
            "INSERT INTO {} (id, vector, payload) VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET vector = EXCLUDED.vector, payload = EXCLUDED.payload"
        )
        values = [(row.id, str(list(row.vector or ())), json.dumps(row.payload)) for row in rows]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(statement, values)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows; return how many were there."""
        removed = self._run(
            self._on_table("DELETE FROM {} WHERE id::text = ANY(%s) RETURNING 1"), [list(ids)]
        )
        return len(removed)

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return what an error of psycopg means, by its SQLSTATE."""
        if not isinstance(error, self._psycopg.Error):
            return None
        if isinstance(error, self._psycopg.DataError | self._psycopg.IntegrityError):
            reason = f"Postgres refuses a row: {_state(error)}"
            return BatchRefusedError(reason, provider=PROVIDER, operation=operation, code="invalid")
        # A missing table, column or right is rolled back, and stays as it is.
        lasts = isinstance(error, self._psycopg.ProgrammingError | self._psycopg.NotSupportedError)
        passing = AmbiguousError if operation == "write" else UnavailableError
        kind = FatalError if lasts else passing
        return kind(f"Postgres failed: {_state(error)}", provider=PROVIDER, operation=operation)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class SupabaseStore(PgvectorStore):
    """A table of `vecs`."""

    _schema = ("vecs",)
    _columns_of = ("id", "vec", "metadata")
    _first = ""

    def _create(self) -> None:
        raise self._read_only()


def _conninfo(psycopg: Any, settings: PgvectorSettings | SupabaseSettings) -> str:
    extra = {"sslmode": settings.sslmode} if settings.sslmode else {}
    if settings.connection_string is not None:
        return str(psycopg.conninfo.make_conninfo(settings.connection_string.get_secret_value(), **extra))
    assert isinstance(settings, PgvectorSettings)  # noqa: S101 - Supabase has a connection_string always
    password = settings.password.get_secret_value() if settings.password else None
    parts = {
        "host": settings.host,
        "port": settings.port,
        "user": settings.user,
        "password": password,
        "dbname": settings.dbname,
    }
    given = {name: value for name, value in parts.items() if value is not None}
    return str(psycopg.conninfo.make_conninfo("", **given, **extra))


def _state(error: Any) -> str:
    return f"{type(error).__name__} (SQLSTATE {getattr(error, 'sqlstate', None) or 'none'})"


def _row(row_id: Any, payload: Any, vector: str | None = None) -> Row:
    return Row(str(row_id), payload, None if vector is None else tuple(json.loads(vector)))
