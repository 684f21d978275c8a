"""The contract between the core and a backend.

Public methods check readiness and shape, isolate bad rows and keep the promises of this module's
docstrings; authors fill in the methods that begin with an underscore. What comes back from any of
them is without the connection's secrets and fit to be stored (`memxfer.spi.scrubbing`). A source
fills `_read_page` and `_decode`, a target `_prepare` and `_write`, and each may add the protocols of
`memxfer.spi.protocols`.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, final

import msgspec

from memxfer.capabilities import Capabilities
from memxfer.errors import ConfigError, ProviderError, RecordError, UnsupportedOperationError
from memxfer.models import MemoryRecord, Scope, sanitise_record, sanitise_text
from memxfer.spi.clock import Clock, SystemClock
from memxfer.spi.guarding import bounded_count, guard_operations
from memxfer.spi.learning import Finding, applied, withdrawn
from memxfer.spi.limits import over_limit
from memxfer.spi.protocols import SupportsPartitions
from memxfer.spi.reading import NOT_A_MEMORY, Defect, Ignored, Page, Partition, RawPage
from memxfer.spi.scrubbing import Scrubber, secrets_of
from memxfer.spi.settings import ConnectionConfig, RemoteConfig
from memxfer.spi.writing import Document, Prepared, Refused, Skipped, WriteReceipt

__all__ = ["BackendInfo", "ConfigT", "MemoryProvider", "Role", "StoreIdentity"]

ConfigT = TypeVar("ConfigT", bound=ConnectionConfig)

_OVERSIZE = ('oversize = "skip"',)
_REASON = re.compile("[a-z][a-z0-9_]{0,59}")
_MOST_REASONS = 50
"""Reasons of one connection that are told apart; reasons made from what rows hold would have no end."""
_MAX_ID = 200
_UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    msgspec.MsgspecError,
)


class Role(StrEnum):
    """What a connection is opened for."""

    SOURCE = "source"
    TARGET = "target"
    APP = "app"
    """Single memories, both ways, while an app runs."""


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Which store this is, on whatever machine and under whatever connection name.

    Attributes:
        provider: The provider's name.
        namespace: A collection, project, database or instance; part of every document key.
        place: Where a store on this machine is, such as the real path of its folder and its collection: two
            stores of one namespace differ in it, and two connections that have one are the same store,
            whatever their namespaces say. Empty where the namespace says which store it is, as a server's
            address does. Never part of a key: a store that is moved keeps its namespace.
    """

    provider: str
    namespace: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What the preflight found, for people.

    Attributes:
        summary: One line, `"Synap instance inst_0123456789abcdef, B2B"`.
        warnings: What the user should know before moving data.
        details: More facts, name to value; never a secret.
    """

    summary: str
    warnings: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


class MemoryProvider(ABC, Generic[ConfigT]):
    """A memory backend.

    Providers never sleep, retry, read configuration files or import each other: they classify what
    happened with the errors of `memxfer.errors`, and the engine decides.

    Attributes:
        name: The provider's name in configuration and keys.
        summary: One line for `memxfer providers list`.
        config_model: The model of its connection block.
        config: The connection's settings.
        clock: Where the provider takes the time from.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    config_model: ClassVar[type[ConnectionConfig]]
    claim_settings: ClassVar[Mapping[str, str]] = {}
    """Claims that a setting makes, by path: `{"writing.client_key": "duplicate_policy"}`."""

    _known: Capabilities | None = None
    _learned: tuple[Finding, ...] = ()
    _whole: type[MemoryProvider[Any]] | None = None
    _scrubber: Scrubber | None = None
    _reasons: frozenset[str] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        """Have the optional operations of a provider guarded as the methods here are."""
        super().__init_subclass__(**options)
        guard_operations(cls)

    def __init__(self, config: ConfigT, *, clock: Clock | None = None) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self.role: Role | None = None

    # -- life ---------------------------------------------------------------------------------

    async def connect(self, role: Role) -> BackendInfo:
        """Open the store and prove that it answers and that the key is good. Idempotent.

        Raises:
            ConfigError: A path or setting is wrong; the message names it.
            AuthError: The key is refused.
            NotReadyError: The backend is still being set up.
            UnavailableError: Nobody answers.
            ProviderNotInstalledError: The vendor SDK is missing.
        """
        if role is Role.SOURCE and not self.is_source():
            raise UnsupportedOperationError(
                f"{self.name} cannot be read from; it is a target only", provider=self.name
            )
        if role is Role.TARGET and not self.is_target():
            raise UnsupportedOperationError(
                f"{self.name} cannot be written to; it is a source only", provider=self.name
            )
        self._scrubber = None
        try:
            with self._scrubbed():
                info = await self._connect(role)
            if isinstance(self.config, RemoteConfig):
                self.store()  # refuses a name that cannot be stored
        finally:
            self._known = self._scrubber = None
        self.role = role
        return self._told(info)

    def _told(self, info: BackendInfo) -> BackendInfo:
        text = self._cleaner().text
        warnings = list(info.warnings)
        if isinstance(self.config, RemoteConfig) and self.config.sends_in_clear:
            warnings.append(
                "base_url is http:// and names another machine: the key and the memories travel in clear; "
                "use https:// if the service has it"
            )
        details = {text(name): text(value) for name, value in info.details.items()}
        return replace(info, summary=text(info.summary), warnings=tuple(map(text, warnings)), details=details)

    async def aclose(self) -> None:
        """Release everything. Idempotent; never raises for a store that is gone."""
        self.role = None
        self._known = None
        with self._scrubbed():
            await self._aclose()

    async def begin(self, source: StoreIdentity) -> None:
        """Tell a target where its records will come from: called before the first write. Idempotent."""
        self._check_ready(Role.TARGET)
        with self._scrubbed():
            await self._begin(source)

    async def finish(self) -> None:
        """Make what was written complete: called once all receipts of a job are durable. Idempotent."""
        self._check_ready(Role.TARGET)
        with self._scrubbed():
            await self._finish()

    @final
    def capabilities(self) -> Capabilities:
        """Return what this instance can keep, as declared and as learned. Pure: no I/O.

        Cheap enough to ask for every record: put together once, and anew after `connect`, `aclose`
        and `learn`.
        """
        if self._known is None:
            self._known = applied(self._capabilities(), self._learned)
        return self._known

    @final
    def learn(self, findings: Sequence[Finding]) -> None:
        """Take over what was seen of this backend, in place of what was learned before.

        Claims that were not met are lowered to what was seen, never raised; `writing.client_key` that
        is declared `unknown` becomes what was seen. An operation that does not do what it promises is
        taken away: the provider is no `SupportsLookup` any more, say. No I/O; lasts through `connect`.
        """
        whole = self._whole or type(self)
        gone = withdrawn(findings)
        self.__class__ = _without(whole, gone) if gone else whole
        self._whole = whole if gone else None
        self._learned = tuple(findings)
        self._known = None

    def sdk_package(self) -> str | None:
        """Return the distribution name of the vendor's SDK that this connection calls, if it does."""
        return None

    @abstractmethod
    def store(self) -> StoreIdentity:
        """Return which store this is. Only after `connect`."""

    def place(self) -> str | None:
        """Return where the store is, whatever a connection calls it; `None`: `store()` says it all.

        Two connections of one place are one store, though their `namespace` differs; two places are two
        stores, though their namespaces are the same. See `memxfer.spi.places`. Only after `connect`.
        """
        return None

    @classmethod
    def from_location(cls, location: str) -> dict[str, Any]:
        """Return the settings that `PROVIDER:LOCATION` stands for.

        Raises:
            ConfigError: The provider is not file-like and takes no location.
        """
        raise ConfigError(
            f"{cls.name}:{location} names no connection: {cls.name} takes no location; "
            "write a [connections.NAME] block and use its name"
        )

    @classmethod
    def is_source(cls) -> bool:
        """Tell whether records can be read from it."""
        return cls._read_page is not MemoryProvider._read_page

    @classmethod
    def is_target(cls) -> bool:
        """Tell whether documents can be written to it."""
        return cls._write is not MemoryProvider._write

    # -- reading ------------------------------------------------------------------------------

    async def list_partitions(self) -> AsyncIterator[Partition]:
        """Give the slices of the store; one slice, `all`, where it does not split."""
        self._check_ready(Role.SOURCE)
        if isinstance(self, SupportsPartitions):
            async for partition in self.partitions():
                yield partition
        else:
            yield Partition(name="all")

    async def read_page(self, partition: Partition, cursor: str | None, limit: int) -> Page:
        """Read one page of a partition.

        Args:
            partition: One of `list_partitions()`.
            cursor: `None` for the first page, else `next_cursor` of the page before, also from
                another process.
            limit: Most rows wanted; the provider's `paging.max_page` bounds it.

        Returns:
            A page. A row that does not decode is a `Defect`, and never costs its page.

        Raises:
            CursorExpiredError: List the partition again from its start.
            TransientError, FatalError: As classified.
        """
        self._check_ready(Role.SOURCE)
        with self._scrubbed() as scrubber:
            raw = await self._read_page(partition, cursor, limit)
            scrubber.check_ids([raw.next_cursor])
        records: list[MemoryRecord] = []
        defects: list[Defect] = []
        ignored: list[Ignored] = []
        for row in raw.rows:
            try:
                record = self._decode(row, partition)
                if record is None or isinstance(record, Ignored):
                    ignored.append(self._left_out(row, record))
                else:
                    records.append(sanitise_record(record))
            except (*_UNREADABLE, RecordError) as error:
                defects.append(self._defect(row, error))
        for defect in defects:
            scrubber.error(defect.error)
        return Page(records, raw.next_cursor, bounded_count(raw.total), ignored, defects)

    def _left_out(self, row: Any, found: Ignored | None) -> Ignored:
        """Return a row that is no memory with a reason and an id that can be counted, stored and shown."""
        ignored = found or Ignored(NOT_A_MEMORY)
        reason = ignored.reason
        if reason not in self._reasons:
            if len(self._reasons) < _MOST_REASONS and _REASON.fullmatch(reason):
                self._reasons |= {reason}
            else:
                reason = NOT_A_MEMORY
        row_id = ignored.id if ignored.id is not None else self._told_id(row)
        shown = None if row_id is None else sanitise_text(row_id)[0][:_MAX_ID]
        return Ignored(reason, shown, harmless=ignored.harmless)

    def _defect(self, row: Any, error: Exception) -> Defect:
        if not isinstance(error, RecordError):
            # Only the error's type: its text may quote the memory.
            reason = f"the row cannot be read as a memory ({type(error).__name__})"
            error = RecordError(reason, provider=self.name, operation="read", code="unreadable")
        return Defect(self._told_id(row), error)

    def _told_id(self, row: Any) -> str | None:
        try:
            return self._row_id(row)
        except _UNREADABLE:  # a row too odd to decode may be too odd to tell its id
            return None

    # -- writing ------------------------------------------------------------------------------

    def prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        """Turn a record into what the target stores, or say why not. Pure: no I/O.

        Args:
            record: The record.
            key: Its document key.
            envelope: What the target cannot hold natively, ready for the reserved key `memxfer`;
                empty when nothing has to be enveloped.
        """
        self._check_ready(Role.TARGET)
        try:
            prepared = self._prepare(record, key, envelope)
        except RecordError as error:
            return Refused(error)
        if not isinstance(prepared, Document):
            return prepared
        if prepared.owner is not None and self._widens(record, prepared.owner):
            return self._undecided_widening()
        if record.metadata:
            over = over_limit(record.metadata, self.capabilities().limits, provider=self.name)
            if over is not None:
                return Skipped("oversize") if self.config.oversize == "skip" else Refused(over, _OVERSIZE)
        return prepared

    def _widens(self, record: MemoryRecord, owner: Scope) -> bool:
        """Tell whether a user's memory would land where the target cannot tell the user from others."""
        return bool(record.scope.user) and not owner.user and self.config.widening != "allow"

    def _undecided_widening(self) -> Refused:
        error = RecordError(
            f"the record belongs to a user, and {self.name} would show it to others",
            provider=self.name,
            operation="prepare",
            code="widening",
        )
        return Refused(error, ('widening = "allow"',))

    async def write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        """Send one batch in one request.

        Returns:
            One receipt per document, in order. Whatever happened after bytes were sent, short of a
            clear refusal, is a receipt: `UNKNOWN` where it cannot be told.

        Raises:
            RateLimitedError, UnavailableError: Certainly nothing was stored; send it again later.
            AuthError, QuotaExceededError: Certainly nothing was stored; the job pauses.
            BatchRefusedError: Certainly nothing was stored, for some of the documents; the engine
                halves the batch until it finds them.
        """
        self._check_ready(Role.TARGET)
        with self._scrubbed() as scrubber:
            receipts = scrubber.receipts(await self._write(batch))
        if len(receipts) != len(batch):
            raise ProviderError(
                f"{self.name} gave {len(receipts)} receipts for {len(batch)} documents: a bug of its",
                provider=self.name,
                operation="write",
            )
        return receipts

    # -- for authors --------------------------------------------------------------------------

    @abstractmethod
    async def _connect(self, role: Role) -> BackendInfo:
        """Open the store; see `connect`."""

    @abstractmethod
    async def _aclose(self) -> None:
        """Release everything; may be called twice, or without a `_connect`."""

    @abstractmethod
    def _capabilities(self) -> Capabilities:
        """Declare what this instance can keep; see `capabilities`. Pure: no I/O, the same every time."""

    async def _begin(self, source: StoreIdentity) -> None:
        """Note where the records come from; see `begin`."""

    async def _finish(self) -> None:
        """Complete what was written; see `finish`."""

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        """Fetch one page of rows; see `read_page`."""
        raise UnsupportedOperationError(f"{self.name} cannot be read from", provider=self.name)

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored | None:
        """Turn one row into a record, or say why it is no memory (`Ignored`).

        `None` is a row that is no memory for a reason that nobody tells: it needs consent to be left out.
        May raise `ValueError` and the like.
        """
        raise UnsupportedOperationError(f"{self.name} cannot be read from", provider=self.name)

    def _row_id(self, row: Any) -> str | None:
        """Return the id of a row that did not decode or is ignored, where it can be told."""
        del row
        return None

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        """Map one record; see `prepare`. Raise `RecordError` for what can never be stored."""
        raise UnsupportedOperationError(f"{self.name} cannot be written to", provider=self.name)

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        """Send one batch; see `write`."""
        raise UnsupportedOperationError(f"{self.name} cannot be written to", provider=self.name)

    def _secrets(self) -> Iterable[str]:
        """Return the connection's secrets in clear: those of `config`, and others that come to be known."""
        return secrets_of(self.config)

    def _cleaner(self) -> Scrubber:
        if self._scrubber is None:
            self._scrubber = Scrubber(self._secrets())
        return self._scrubber

    @contextmanager
    def _scrubbed(self) -> Iterator[Scrubber]:
        """Let nothing out of the block that quotes a secret: errors are cleaned on their way."""
        try:
            yield self._cleaner()
        except Exception as error:
            self._scrubber = None  # the call may have come to know more secrets
            cleaned = self._cleaner().error(error)
            if cleaned is error:
                raise
            raise cleaned from None

    def _check_ready(self, role: Role) -> None:
        if self.role is not role and self.role is not Role.APP:
            raise ProviderError(
                f"{self.name} is not connected as a {role.value}; call connect(Role.{role.name}) first",
                provider=self.name,
            )


@functools.cache
def _without(kind: type[MemoryProvider[Any]], operations: frozenset[str]) -> type[MemoryProvider[Any]]:
    """Return `kind` without some of its operations: a protocol counts a method that is `None` as absent."""
    body: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), body | dict.fromkeys(operations))
