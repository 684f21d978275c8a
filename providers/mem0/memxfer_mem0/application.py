"""The dict that an app gives to `Memory.from_config`: read, checked, and its paths found.

The fields are those of `mem0.configs` in mem0ai 2.2.1, and the top-level ones of 0.1 and 1.x. Mem0
ignores unknown top-level fields. Here they are ignored with a warning, unless one looks like a known field
misspelt: a misspelt `vector_store` would open the default store in the temporary folder instead of the
app's.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from memxfer.spi import ConfigError
from memxfer_mem0.config import Mem0OssConfig
from memxfer_mem0.sdk import app_home, import_sdk

__all__ = [
    "Application",
    "ChromaSettings",
    "EmbedderSettings",
    "FaissSettings",
    "OtherSettings",
    "PgvectorSettings",
    "QdrantSettings",
    "StoreSettings",
    "SupabaseSettings",
    "install_line",
    "is_derived",
    "load_application",
]

ModelT = TypeVar("ModelT", bound=BaseModel)

_VENDORS_OWN = frozenset({"rerank", "enable_graph", "custom_categories"})
"""Top-level fields that Mem0's own pages show and Mem0 ignores, however much they look like others."""
_NEAR = 0.75
"""How alike two names have to be for one to be the other misspelt; from 0 to 1, as `difflib` has it."""
_NOT_READ = {
    "graph_store": "the graph beside the memories, with its relations; they are in the graph database alone",
    "reranker": "settings for search, no memories",
    "rerank": "settings for search, no memories",
}
"""What a config may name beside the memories, and what is in it."""

# Names in `mem0.vector_stores.configs` (2.2.1), and what has to be installed for each.
_PACKAGES: Mapping[str, str] = {
    "azure_ai_search": "azure-search-documents azure-identity",
    "azure_mysql": "pymysql dbutils azure-identity",
    "baidu": "pymochow",
    "cassandra": "cassandra-driver",
    "chroma": "chromadb",
    "databricks": "databricks-sdk",
    "elasticsearch": "elasticsearch",
    "faiss": "faiss-cpu",
    "langchain": "langchain-community",
    "milvus": "pymilvus",
    "mongodb": "pymongo",
    "neptune": "langchain-aws",
    "opensearch": "opensearch-py",
    "oracledb": "oracledb",
    "pgvector": "psycopg[binary,pool]",
    "pinecone": "pinecone pinecone-text",
    "qdrant": "qdrant-client",
    "redis": "redis redisvl",
    "s3_vectors": "boto3",
    "supabase": "vecs",
    "turbopuffer": "turbopuffer",
    "upstash_vector": "upstash-vector",
    "valkey": "valkey",
    "vertex_ai_vector_search": "google-cloud-aiplatform",
    "weaviate": "weaviate-client",
}

_DERIVED = ("mem0migrations",)
_ENTITIES = ("_entities", "-entities")


def _no_object(value: Any) -> None:
    if value is not None:
        raise ValueError("an open client cannot be shared with memxfer; give its path, host or address")


_NoObject = Annotated[None, BeforeValidator(_no_object)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(_Strict):
    """`vector_store.config`, as Mem0 fills it in.

    Attributes:
        kind: Mem0's name of the vector store.
        default_path: Folder Mem0 takes when an embedded store names none; it is in `/tmp`.
    """

    kind: ClassVar[str] = ""

    collection_name: str = "mem0"


class QdrantSettings(StoreSettings):
    """Qdrant, embedded or a server."""

    kind: ClassVar[str] = "qdrant"

    embedding_model_dims: int | None = 1536
    client: _NoObject = None
    host: str | None = None
    port: int | None = None
    path: str | None = "/tmp/qdrant"  # noqa: S108 - where Mem0 itself puts it
    url: str | None = None
    api_key: SecretStr | None = None
    https: bool | None = None
    on_disk: bool | None = False

    @property
    def is_server(self) -> bool:
        """Whether Mem0 connects to a server with these settings (`mem0.vector_stores.qdrant`)."""
        return bool(self.api_key or self.url or (self.host and self.port) or self.https is not None)


class ChromaSettings(StoreSettings):
    """Chroma: a folder, a server, or its cloud."""

    kind: ClassVar[str] = "chroma"

    client: _NoObject = None
    path: str | None = None
    host: str | None = None
    port: int | None = None
    api_key: SecretStr | None = None
    tenant: str | None = None

    @property
    def is_cloud(self) -> bool:
        """Whether these settings name Chroma's cloud."""
        return bool(self.api_key and self.tenant)

    @property
    def is_server(self) -> bool:
        """Whether these settings name a server."""
        return not self.is_cloud and bool(self.host and self.port)


class FaissSettings(StoreSettings):
    """FAISS: two files in a folder."""

    kind: ClassVar[str] = "faiss"

    path: str | None = "/tmp/faiss"  # noqa: S108 - where Mem0 itself puts it
    distance_strategy: str = "euclidean"
    normalize_L2: bool = False  # noqa: N815 - Mem0's name
    embedding_model_dims: int = 1536


class PgvectorSettings(StoreSettings):
    """A table in Postgres."""

    kind: ClassVar[str] = "pgvector"

    dbname: str = "postgres"
    embedding_model_dims: int | None = 1536
    user: str | None = None
    password: SecretStr | None = None
    host: str | None = None
    port: int | None = None
    diskann: bool | None = False
    hnsw: bool | None = True
    minconn: int | None = 1
    maxconn: int | None = 5
    sslmode: str | None = None
    connection_string: SecretStr | None = None
    connection_pool: _NoObject = None


class SupabaseSettings(StoreSettings):
    """A table of Supabase's `vecs`, in Postgres."""

    kind: ClassVar[str] = "supabase"

    connection_string: SecretStr
    embedding_model_dims: int | None = 1536
    index_method: str | None = None
    index_measure: str | None = None
    sslmode: ClassVar[str | None] = None


class OtherSettings(BaseModel):
    """Any other vector store that Mem0 knows; its fields are Mem0's business."""

    model_config = ConfigDict(frozen=True, extra="allow")

    provider: str
    collection_name: str = "mem0"

    @property
    def kind(self) -> str:
        """Mem0's name of the vector store."""
        return self.provider


class EmbedderSettings(_Strict):
    """The app's embedder."""

    provider: str = "openai"
    config: dict[str, Any] | None = Field(None, repr=False)

    @property
    def model(self) -> str | None:
        """Name that tells vectors of two models apart; `None` when the app leaves it to the vendor."""
        name = (self.config or {}).get("model")
        return f"{self.provider}/{name}" if isinstance(name, str) else None

    @property
    def dims(self) -> int | None:
        """Length of its vectors, where the app says so."""
        value = (self.config or {}).get("embedding_dims")
        return value if isinstance(value, int) else None


class _VectorStore(_Strict):
    provider: str = "qdrant"
    config: dict[str, Any] | None = Field(None, repr=False)


class _Memory(_Strict):
    vector_store: _VectorStore = _VectorStore()
    llm: dict[str, Any] | None = Field(None, repr=False)
    embedder: EmbedderSettings = EmbedderSettings()
    history_db_path: str | None = None
    reranker: dict[str, Any] | None = Field(None, repr=False)
    graph_store: dict[str, Any] | None = Field(None, repr=False)
    version: str | None = None
    custom_instructions: str | None = None
    custom_prompt: str | None = None
    custom_fact_extraction_prompt: str | None = None
    custom_update_memory_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Application:
    """What memxfer needs to know of an app's Mem0.

    Attributes:
        label: What to call the dict in messages: its file, or "memory".
        store: The vector store's settings, paths made absolute.
        history: Path of the history database; `None` when the app keeps none on disk.
        embedder: The app's embedder.
        warnings: What the user should know.
    """

    label: str
    store: StoreSettings | OtherSettings
    history: Path | None
    embedder: EmbedderSettings
    warnings: tuple[str, ...] = ()


_STORES: dict[str, type[StoreSettings]] = {
    model.kind: model
    for model in (QdrantSettings, ChromaSettings, FaissSettings, PgvectorSettings, SupabaseSettings)
}


def load_application(config: Mem0OssConfig) -> Application:
    """Read the app's dict from the connection or its file.

    Relative paths are looked up in the folder of the file they stand in, then in the working folder.

    Raises:
        ConfigError: The file is missing or unreadable, or a field is unknown or of a wrong type; the
            message names the file and the field, and never a value.
    """
    label, folder, raw = _read(config)
    raw, unknown = _known_fields(raw, label)
    memory = _parse(_Memory, raw, label=label, at="")
    settings = _store_settings(memory.vector_store, label)
    _refuse_derived(settings.collection_name, label)
    path = getattr(settings, "path", None)
    if path is not None and not getattr(settings, "is_server", False):
        settings = settings.model_copy(update={"path": str(_locate(folder, path))})
    return Application(
        label=label,
        store=settings,
        history=_history_path(memory.history_db_path, folder),
        embedder=memory.embedder,
        warnings=(*_not_read(memory, unknown), *_warnings(settings)),
    )


def install_line(store: str) -> str:
    """Return the command that installs what Mem0 needs for a vector store."""
    return f"pip install {_PACKAGES.get(store, store)}"


def _known_fields(raw: Any, label: str) -> tuple[Any, list[str]]:
    """Return the app's dict without the top-level fields that Mem0 ignores, and the names of those.

    Raises:
        ConfigError: One of them looks like a field that Mem0 knows.
    """
    if not isinstance(raw, dict):
        return raw, []
    known = _Memory.model_fields
    unknown = [str(name) for name in raw if name not in known]
    for name in unknown:
        if name not in _VENDORS_OWN and (meant := _alike(name, known)):
            raise ConfigError(f"{label}: {name}: no field of that name; did you mean {meant}?")
    return {name: value for name, value in raw.items() if name in known}, unknown


def _alike(name: str, known: Collection[str]) -> str | None:
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=_NEAR)
    return found[0] if found else None


def _not_read(memory: _Memory, unknown: Collection[str]) -> list[str]:
    """Say what the app's dict names that holds no memories, or holds some that stay behind."""
    named = {name for name in ("graph_store", "reranker") if getattr(memory, name) is not None}
    told = [
        f"not read: {name} ({_NOT_READ[name]})" for name in sorted(named | (_NOT_READ.keys() & set(unknown)))
    ]
    rest = sorted(set(unknown) - _NOT_READ.keys())
    if rest:
        told.append(f"not read: {', '.join(rest)} (fields of the app's config that Mem0 ignores)")
    return told


def _read(config: Mem0OssConfig) -> tuple[str, Path, Any]:
    if config.config_file is None:
        return "memory", config.folder, config.memory
    path = config.config_file.absolute()
    label = str(config.config_file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config_file {label} cannot be read: {_reason(error)}") from error
    return label, path.parent, _load(text, label, path.suffix)


def _load(text: str, label: str, suffix: str) -> Any:
    if suffix.lower() not in (".yaml", ".yml"):
        try:
            return json.loads(text)
        except ValueError as error:
            where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise ConfigError(
                f"config_file {label} is not JSON{where}; YAML needs the ending .yaml"
            ) from error
    yaml = import_sdk("yaml")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"config_file {label} is not YAML{where}") from error


def _parse(model: type[ModelT], raw: Any, *, label: str, at: str) -> ModelT:
    if not isinstance(raw, dict):
        raise ConfigError(f"{label}: {at or 'the whole'} must be a table of fields, not {type(raw).__name__}")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in (*filter(None, [at]), *first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(model.model_fields)) if len(first["loc"]) == 1 else ""
            reason = "no field of that name" + (f"; known: {known}" if known else "")
        else:
            reason = first["msg"]
        # The cause is left out: it quotes values, and this dict holds the app's keys.
        raise ConfigError(f"{label}: {field}: {reason}") from None


def _store_settings(store: _VectorStore, label: str) -> StoreSettings | OtherSettings:
    fields = dict(store.config or {})
    model = _STORES.get(store.provider)
    if store.provider not in _PACKAGES:
        meant = _alike(store.provider, _PACKAGES)
        raise ConfigError(
            f"{label}: vector_store.provider: Mem0 has no vector store {store.provider!r}"
            + (f"; did you mean {meant}?" if meant else ";")
            + f" known: {', '.join(_PACKAGES)}"
        )
    if model is None:
        return OtherSettings.model_validate({**fields, "provider": store.provider})
    settings = _parse(model, fields, label=label, at="vector_store.config")
    if isinstance(settings, ChromaSettings) and not (
        settings.path or settings.is_cloud or settings.is_server
    ):
        settings = settings.model_copy(update={"path": "/tmp/chroma"})  # noqa: S108 - where Mem0 itself puts it
    return settings


def is_derived(collection: str) -> bool:
    """Tell whether a collection is one that Mem0 derives for itself: it holds no memories."""
    return collection in _DERIVED or collection.endswith(_ENTITIES)


def _refuse_derived(collection: str, label: str) -> None:
    if is_derived(collection):
        raise ConfigError(
            f"{label}: vector_store.config.collection_name: {collection} is what Mem0 derives for itself, "
            "it holds no memories; name the app's own collection"
        )


def _locate(folder: Path, text: str) -> Path:
    path = Path(text)
    for base in (folder, Path.cwd()):
        if (base / path).exists():
            return (base / path).absolute()
    return (folder / path).absolute()


def _history_path(text: str | None, folder: Path) -> Path | None:
    if text is None:
        return app_home() / "history.db"
    return None if text in ("", ":memory:") else _locate(folder, text)


def _warnings(settings: StoreSettings | OtherSettings) -> tuple[str, ...]:
    found = []
    if isinstance(settings, QdrantSettings) and not settings.is_server and not settings.on_disk:
        found.append(
            "the app's config does not set on_disk: true; mem0ai before 1.0.8 deletes the whole store "
            "when such an app opens it (memxfer itself does not)"
        )
    path = getattr(settings, "path", None)
    temporary = Path(tempfile.gettempdir())
    if path and Path(path).parent == temporary and not getattr(settings, "is_server", False):
        found.append(f"the store lies in {temporary}, Mem0's default, which the system may clear")
    return tuple(found)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
