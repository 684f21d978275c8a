"""One record, on its way to a backend: by whose name, as which document, in which call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memxfer.capabilities import ClientKey
from memxfer.engine.grouping import alone
from memxfer.errors import ProviderError, RecordError
from memxfer.identity import IdentityMap
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Document, MemoryProvider, Outcome, Refused, SupportsCreate, WriteReceipt

__all__ = ["Mapper", "conflict", "is_taken", "read_identity", "send"]

_KEEPS_THE_FIRST = (ClientKey.DEDUPE, ClientKey.REJECT, ClientKey.UNKNOWN)


def read_identity(provider: MemoryProvider[Any]) -> IdentityMap | None:
    """Return the identity file that a connection names, if it names one.

    Raises:
        ConfigError: The file cannot be read, or leaves a doubt.
    """
    path = provider.config.identity
    return None if path is None else IdentityMap.read(path)


@dataclass(frozen=True, slots=True)
class Mapper:
    """Makes documents of records, and scopes of scopes, for one connection.

    Attributes:
        name: What the app calls the connection.
        provider: Maps; connected before `document` is called.
        identity: Whose memories become whose in this backend: the same for what is written and asked.
    """

    name: str
    provider: MemoryProvider[Any]
    identity: IdentityMap | None = None

    def scope(self, scope: Scope) -> Scope:
        """Return whom the backend knows as the owner of what is written for a scope."""
        if self.identity is None:
            return scope
        return self.identity(MemoryRecord(id="", content="", scope=scope)).scope

    def document(self, record: MemoryRecord, document_id: str) -> Document:
        """Return what is sent of a record; a turn of a conversation is sent as one of its own.

        Raises:
            RecordError: The backend can never take it.
            ProviderError: The provider is not connected.
        """
        try:
            owned = record if self.identity is None else self.identity(record)
            prepared = self.provider.prepare(owned, document_id, {})
            if isinstance(prepared, Document):
                return alone(self.provider, prepared)
        except ProviderError:
            raise
        except Exception as error:
            # Only the error's type: its text may quote the memory.
            reason = f"the document cannot be mapped for {self.name} ({type(error).__name__})"
            raise RecordError(reason, provider=self.name, operation="ingest", code="unmappable") from error
        if isinstance(prepared, Refused):
            raise prepared.error
        raise RecordError(
            f"left out by the settings of {self.name}: {prepared.reason}",
            provider=self.name,
            operation="ingest",
            code=prepared.reason,
        )


async def send(provider: MemoryProvider[Any], documents: Sequence[Document]) -> list[WriteReceipt]:
    """Send documents in one request: one alone by the call that the backend has for it.

    Raises:
        ProviderError: As for `MemoryProvider.write`.
    """
    if len(documents) == 1 and isinstance(provider, SupportsCreate):
        return [await provider.create(documents[0])]
    return await provider.write(documents)


def is_taken(receipt: WriteReceipt, client_key: ClientKey, *, sends: int) -> bool:
    """Tell whether a receipt says that the key belongs to a document that was not sent by this client.

    Args:
        receipt: The backend's answer.
        client_key: What the backend does with a second document of one key.
        sends: Calls so far, this one included, that may have stored this content under the key.
    """
    return receipt.outcome is Outcome.PRESENT and client_key in _KEEPS_THE_FIRST and sends <= 1


def conflict(name: str) -> RecordError:
    """Return the error of a document whose key belongs to another one."""
    return RecordError(
        f"{name} holds another document under this id and kept that one; give this one an id of its own",
        provider=name,
        operation="ingest",
        code="conflict",
    )
