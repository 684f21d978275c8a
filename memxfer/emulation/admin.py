"""The admin API under `/_emulator`: truth, settings, faults, counters. No key, loopback only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .access import is_local_host, is_local_origin
from .faults import FaultPlan, FaultRule

if TYPE_CHECKING:
    from .emulator import Emulator

_RULES = TypeAdapter(list[FaultRule])
_PAGE = 1000
_TAIL = 100

_View = Callable[["Emulator[Any]", Request], Awaitable[Any]]


async def _truth(emulator: Emulator[Any], request: Request) -> Mapping[str, Any]:
    if _flag(request, "summary"):
        return {**emulator.summary(), "requests": dict(emulator.tally.by_route)}
    offset, limit = _number(request, "offset", 0), _number(request, "limit", _PAGE)
    return emulator.truth(offset, limit, brief=_flag(request, "brief"))


async def _get_config(emulator: Emulator[Any], _request: Request) -> Any:
    return emulator.settings.model_dump(mode="json")


async def _set_config(emulator: Emulator[Any], request: Request) -> Any:
    changes = await request.json()
    if not isinstance(changes, dict):
        raise ValueError("Send a JSON object of settings to change")  # noqa: TRY004 - answered as 422
    emulator.apply(emulator.settings.updated(changes))
    return emulator.settings.model_dump(mode="json")


async def _get_faults(emulator: Emulator[Any], _request: Request) -> Any:
    return emulator.faults.report()


async def _set_faults(emulator: Emulator[Any], request: Request) -> Any:
    rules = _RULES.validate_python(await request.json())
    known = emulator.presets()
    unknown = {rule.action.preset for rule in rules} - {None, *known}
    if unknown:
        raise ValueError(f"Unknown presets {sorted(map(str, unknown))}; there are {sorted(known)}")
    emulator.faults = FaultPlan(rules)
    return emulator.faults.report()


async def _reset(emulator: Emulator[Any], _request: Request) -> Any:
    emulator.reset()
    return {"reset": True}


async def _requests(emulator: Emulator[Any], request: Request) -> Any:
    return emulator.tally.report(_number(request, "tail", _TAIL))


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "0") not in {"", "0"}


def _number(request: Request, name: str, default: int) -> int:
    value = int(request.query_params.get(name, default))
    if value < 0:
        raise ValueError(f"{name} must not be negative")
    return value


def _json(status: int, body: Any) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def _guarded(emulator: Emulator[Any], view: _View) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if not is_local_host(request.headers.get("host", "")) or not is_local_origin(
            request.headers.get("origin")
        ):
            return _json(403, {"detail": "The admin API answers only to this machine"})
        try:
            response = _json(200, await view(emulator, request))
        except (ValidationError, ValueError) as error:
            return _json(422, {"detail": str(error)})
        response.headers["x-emulator"] = emulator.label
        return response

    return endpoint


def admin_routes(emulator: Emulator[Any]) -> list[Route]:
    """Return the admin API's routes, below `/_emulator`."""
    views: list[tuple[str, str, _View]] = [
        ("GET", "/truth", _truth),
        ("GET", "/config", _get_config),
        ("POST", "/config", _set_config),
        ("GET", "/faults", _get_faults),
        ("POST", "/faults", _set_faults),
        ("POST", "/reset", _reset),
        ("GET", "/requests", _requests),
    ]
    return [Route(path, _guarded(emulator, view), methods=[method]) for method, path, view in views]
