"""Which level a document belongs to, from the ids sent and the instance's isolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .settings import Caller

Level = Literal["user", "customer", "client"]
_SEPARATOR = "\x1f"


class ScopeError(ValueError):
    """The ids sent do not fit the instance."""


@dataclass(frozen=True)
class Owner:
    """The user, customer or client that a document belongs to."""

    level: Level
    customer_id: str = ""
    user_id: str = ""

    @property
    def key(self) -> str:
        """One text for an index."""
        return _SEPARATOR.join((self.level, self.customer_id, self.user_id))

    @classmethod
    def from_key(cls, key: str) -> Owner:
        """Read back what `key` wrote."""
        level, customer_id, user_id = key.split(_SEPARATOR, 2)
        return cls(level, customer_id, user_id)  # type: ignore[arg-type]  # only `key` writes these

    def wider(self) -> tuple[Owner, ...]:
        """Return the levels above, the nearest first."""
        if self.level == "client":
            return ()
        has_customer = self.level == "user" and self.customer_id
        customer = (Owner("customer", self.customer_id),) if has_customer else ()
        return (*customer, Owner("client"))

    def as_json(self) -> dict[str, str | None]:
        """Return the wire names, with `None` for what is not set."""
        return {
            "level": self.level,
            "user_id": self.user_id or None,
            "customer_id": self.customer_id or None,
        }


def owner_of(
    caller: Caller,
    user_id: str | None,
    customer_id: str | None,
    scope: Mapping[str, str] | None = None,
) -> Owner:
    """Apply Synap's scope matrix.

    B2B: both ids -> user, customer alone -> customer, none -> client, user alone is refused.
    B2C: user -> user, none -> client, a customer is refused. Nested scopes are refused: the emulator's
    accounts have no ladder.

    Raises:
        ScopeError: The ids do not fit.
    """
    if scope:
        raise ScopeError("scope is not accepted: this account has no nested scope levels")
    if user_id == "" or customer_id == "" or _SEPARATOR in f"{user_id}{customer_id}":
        raise ScopeError("user_id and customer_id must be non-empty text when they are sent")
    if caller.is_b2c:
        if customer_id is not None:
            raise ScopeError("customer_id is not accepted on this instance (B2C): send user_id only")
        return Owner("user", user_id=user_id) if user_id else Owner("client")
    if user_id:
        if not customer_id:
            raise ScopeError("customer_id is required together with user_id on this instance (B2B)")
        return Owner("user", customer_id, user_id)
    return Owner("customer", customer_id) if customer_id else Owner("client")
