"""Running a provider's emulator in the foreground, and telling how to connect to it."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from memxfer.cli.plugins import EMULATORS, load
from memxfer.cli.session import Session
from memxfer.errors import ConfigError
from memxfer.report.machine import write_json

if TYPE_CHECKING:
    from memxfer.emulation import Emulator

__all__ = ["Wishes", "serve"]


@dataclass(frozen=True)
class Wishes:
    """How the emulator should behave, as far as it can.

    Attributes:
        state: File to keep what is stored in; `None`: gone at the end.
        latency: Seconds added to every answer.
        rate: Requests per minute before it refuses; `None`: as many as come.
        duplicates: Policy for known document ids; `None`: the emulator's default.
        levels: Which levels a question reads; `None`: the emulator's default.
    """

    state: Path | None = None
    latency: float = 0.0
    rate: float | None = None
    duplicates: str | None = None
    levels: str | None = None


def serve(session: Session, provider: str, *, port: int, wishes: Wishes) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConfigError: No such emulator, a wish that it cannot fulfil, or a port that is taken.
    """
    emulator = _build(load(EMULATORS, provider), wishes)
    from memxfer.emulation import run

    def announce(line: str) -> None:
        _announce(session, provider, emulator, line)

    try:
        run(emulator, port=port, announce=announce)
    except OSError as error:
        emulator.close()
        raise ConfigError(
            f"port {port} cannot be used ({error.strerror}); name another with --port, 0 picks a free one"
        ) from error


def _build(kind: type[Emulator[Any]], wishes: Wishes) -> Emulator[Any]:
    settings = _settings(kind, wishes)
    if wishes.state is None:
        return kind(settings)
    if "state_path" not in inspect.signature(kind).parameters:
        raise ConfigError(f"the {kind.name} emulator keeps nothing: leave out --state")
    return kind(settings, state_path=wishes.state)  # type: ignore[call-arg]  # looked for above


def _settings(kind: type[Emulator[Any]], wishes: Wishes) -> Any:
    model = kind.settings_model
    values: dict[str, Any] = {"latency_seconds": wishes.latency}
    if wishes.rate is not None:
        values["rate_limit"] = {"per_minute": wishes.rate}
    if wishes.duplicates is not None:
        if "duplicate_policy" not in model.model_fields:
            raise ConfigError(f"the {kind.name} emulator has no duplicate policies: leave out --duplicates")
        values["duplicate_policy"] = wishes.duplicates
    if wishes.levels is not None:
        if "fetch_levels" not in model.model_fields:
            raise ConfigError(f"the {kind.name} emulator has no levels: leave out --levels")
        values["fetch_levels"] = wishes.levels
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors())
        raise ConfigError(f"the {kind.name} emulator cannot be set so: {problems}") from None


def _announce(session: Session, provider: str, emulator: Emulator[Any], line: str) -> None:
    found = re.search(r"https?://[^\s,;)]+", line)
    address = found.group() if found else ""
    key = emulator.api_key
    if session.as_json:
        write_json({"provider": provider, "base_url": address, "api_key": key})
    else:
        sys.stdout.write(f"{line}\n\n{_block(provider, address, key)}\nCtrl-C ends it.\n")
    sys.stdout.flush()


def _block(provider: str, address: str, key: str) -> str:
    from memxfer import registry

    name = "new" if registry.provider_class(provider).is_target() else "old"
    return f'[connections.{name}]\nprovider = "{provider}"\napi_key = "{key}"\nbase_url = "{address}"\n'
