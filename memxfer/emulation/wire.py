"""From socket to handler and back: faults, keys, rate limits and counters on the way."""

from __future__ import annotations

import random
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .access import is_local_host
from .exchange import Answer, Call, RefusedError
from .faults import FaultAction
from .limits import retry_after_headers

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from .emulator import Emulator, Endpoint


class Wire:
    """The ASGI application of all routes outside the admin API."""

    def __init__(self, emulator: Emulator[Any]) -> None:
        self._emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        line = _Line(scope, receive, send, self._emulator.label)
        call = await line.read(self._emulator.settings.request_bytes)
        if call is None:
            return
        name, action = self._emulator.faults.draw(call.method, call.path)
        at = self._emulator.clock()
        route, outcome = await self._serve(call, action, line)
        self._emulator.tally.note(
            at=at, method=call.method, path=call.path, route=route, outcome=outcome, rule=name
        )

    async def _serve(self, call: Call, action: FaultAction | None, line: _Line) -> tuple[str, int | str]:
        found = self._emulator.routes.find(call.method, call.path)
        route = found[0].path if found else "unknown"
        await self._wait(self._emulator.settings.latency_seconds)
        if action is None:
            return route, await line.answer(self._process(call, found))
        if action.when == "before":
            await self._wait(action.delay_seconds)
            if action.is_refusal:
                return route, await self._spoil(None, action, line)
            return route, await line.answer(self._process(call, found))
        answer = self._process(call, found)
        await self._wait(action.delay_seconds)
        return route, await self._spoil(answer, action, line)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await self._emulator.sleep(seconds)

    def _process(self, call: Call, found: tuple[Endpoint, Mapping[str, str]] | None) -> Answer:
        emulator = self._emulator
        try:
            if not is_local_host(call.headers.get("host", "")):
                raise RefusedError(403, "The emulator answers only to this machine's own names")  # noqa: TRY301
            if found is None:
                raise RefusedError(404, "Not Found")  # noqa: TRY301 - one place turns refusals into answers
            if len(call.body) > emulator.settings.request_bytes:
                raise RefusedError(413, "Request body too large")  # noqa: TRY301
            return self._handle(replace(call, params=found[1]), found[0])
        except RefusedError as refused:
            return emulator.error(refused.status, refused.detail, refused.headers)

    def _handle(self, call: Call, endpoint: Endpoint) -> Answer:
        if endpoint.is_open:
            return endpoint.handler(call)
        key, identity = self._emulator.authenticate(call)
        headers = self._emulator.limiter.refusal_headers(key)
        if headers is not None:
            limited = self._emulator.presets()["rate_limited"]
            return replace(limited, headers={**limited.headers, **headers})
        return endpoint.handler(replace(call, identity=identity))

    async def _spoil(self, answer: Answer | None, action: FaultAction, line: _Line) -> int | str:
        if action.close is not None:
            return await line.hang_up(action.close)
        spoilt = self._spoilt(answer, action)
        if action.cut is not None:
            return await line.answer_cut(spoilt, action.cut)
        return await line.answer(spoilt)

    def _spoilt(self, answer: Answer | None, action: FaultAction) -> Answer:
        spoilt = self._replaced(answer, action)
        if action.rows and isinstance(spoilt.body, dict):
            spoilt = replace(spoilt, body=self._spoilt_rows(spoilt.body, action))
        headers = {**spoilt.headers, **action.headers}
        if action.retry_after is not None:
            now = self._emulator.clock()
            headers.update(retry_after_headers(action.retry_after, action.retry_after_seconds, now=now))
        body = spoilt.content()[:-1] + b"<" if action.malformed else spoilt.body
        return Answer(spoilt.status, body, headers)

    def _replaced(self, answer: Answer | None, action: FaultAction) -> Answer:
        if action.preset is not None:
            answer = self._emulator.presets()[action.preset]
        status = action.status or (answer.status if answer else 200)
        if action.body is not None:
            return Answer(status, action.body)
        if answer is None or (action.status is not None and status >= 400 and action.preset is None):
            return self._emulator.error(status, "Injected fault")
        return replace(answer, status=status)

    def _spoilt_rows(self, body: Mapping[str, Any], action: FaultAction) -> dict[str, Any]:
        field = self._emulator.row_field
        rows = list(body.get(field, ()))
        if "null_ids" in action.rows:
            rows = [self._without_ids(row) for row in rows]
        if "duplicated" in action.rows:
            rows = [row for row in rows for _ in range(2)]
        if "reordered" in action.rows:
            random.Random(len(rows)).shuffle(rows)  # noqa: S311 - repeatable on purpose
        return {**body, field: rows}

    def _without_ids(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._emulator.is_failed_row(row):
            return row
        return {**row, **dict.fromkeys(self._emulator.row_id_fields)}


class _Line:
    """One request's connection: reads it whole, answers it whole, or breaks it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, label: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._label = label.encode()

    async def read(self, limit: int) -> Call | None:
        """Return the request, or `None` when the client went away in the middle of it."""
        scope = self._scope
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        body = await self._body(limit)
        if body is None:
            return None
        return Call(method=scope["method"], path=scope["path"], query=query, headers=headers, body=body)

    async def _body(self, limit: int) -> bytes | None:
        """Read to the end, so that a client never sees a reset for what it still sends; keep limit + 1."""
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message: MutableMapping[str, Any] = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            if size <= limit:
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            more = message.get("more_body", False)
        return b"".join(parts)

    async def answer(self, answer: Answer) -> int:
        content = answer.content()
        await self._start(answer, len(content))
        await self._send({"type": "http.response.body", "body": content})
        return answer.status

    async def answer_cut(self, answer: Answer, size: int) -> str:
        content = answer.content()
        await self._start(answer, len(content))
        part = content[: min(size, len(content) - 1)]
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self.hang_up("eof")
        return "cut"

    async def hang_up(self, how: str) -> str:
        connection = self._scope.get("state", {}).get("connection")
        if connection is None:
            raise ConnectionError(
                f"This emulator is not on a socket: the connection is {how} by a fault rule"
            )
        connection.reset() if how == "reset" else connection.close()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        return "closed" if how == "eof" else "reset"

    async def _start(self, answer: Answer, length: int) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        if answer.status != 204:
            headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
        headers.append((b"x-emulator", self._label))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
