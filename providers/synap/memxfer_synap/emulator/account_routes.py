"""Who am I, credits, telemetry, health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from memxfer.emulation import Answer, Call, Endpoint

from .settings import B2C

if TYPE_CHECKING:
    from .emulator import SynapEmulator


class _Estimate(msgspec.Struct):
    metric_type: str
    units: float
    item_count: int | None = None


class _Telemetry(msgspec.Struct):
    events: list[msgspec.Raw] = []


_ESTIMATE = msgspec.json.Decoder(_Estimate)
_TELEMETRY = msgspec.json.Decoder(_Telemetry)
_LOW = 0.1


class AccountRoutes:
    """Everything around the data."""

    def __init__(self, emulator: SynapEmulator) -> None:
        self._emulator = emulator
        self.telemetry_events = 0

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("GET", "/health", self._health, is_open=True),
            Endpoint("GET", "/api/v1/auth/whoami", self._whoami),
            Endpoint("GET", "/v1/credits/balance", self._balance),
            Endpoint("GET", "/v1/credits/ledger", self._ledger),
            Endpoint("POST", "/v1/credits/estimate", self._estimate),
            Endpoint("POST", "/v1/telemetry/batch", self._telemetry, is_open=True),
        ]

    def _health(self, call: Call) -> Answer:
        return Answer(200, {"status": "ok", "emulator": self._emulator.label})

    def _whoami(self, call: Call) -> Answer:
        caller = call.identity
        return Answer(
            200,
            {
                "client_id": caller.client_id,
                "instance_id": caller.instance_id,
                "user_context_isolation": B2C if caller.is_b2c else "strict",
            },
        )

    def _balance(self, call: Call) -> Answer:
        limit = self._emulator.settings.credits
        balance = None if limit is None else limit - self._charged()
        body: dict[str, Any] = {
            "client_id": call.identity.client_id,
            "balance_credits": 1e9 if balance is None else balance,
            "warning_low": balance is not None and limit is not None and balance <= limit * _LOW,
            "buckets": [],
        }
        return Answer(200, body)

    def _ledger(self, call: Call) -> Answer:
        charged = self._charged()
        entry = {
            "ledger_id": "1",
            "entry_type": "debit",
            "delta": -charged,
            "metric_type": "documents",
            "category": "ingestion",
            "created_at": self._emulator.now_iso(),
        }
        entries = [entry] if charged else []
        return Answer(200, {"entries": entries, "total": len(entries), "limit": 100, "offset": 0})

    def _estimate(self, call: Call) -> Answer:
        asked = call.decode(_ESTIMATE)
        price = self._emulator.settings.credits_per_document
        return Answer(200, {"credits_estimate": price * (asked.item_count or asked.units)})

    def _telemetry(self, call: Call) -> Answer:
        count = len(call.decode(_TELEMETRY).events)
        self.telemetry_events += count
        return Answer(202, {"accepted": count})

    def _charged(self) -> float:
        return self._emulator.store.number("charged")
