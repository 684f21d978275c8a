"""A backend that answers with the key wherever it can: the key stays out of all that is shown or kept."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "sk-zephyr-MARZIPAN/77+31"
PARTS = (KEY, "MARZIPAN", base64.b64encode(KEY.encode()).decode()[:20], KEY.encode().hex())

Answer = tuple[int, dict[str, str], Any]


def _whoami() -> Answer:
    body = {
        "client_id": "c",
        "instance_id": "inst_00112233aabbccdd",
        "user_context_isolation": "equals_customer",
    }
    return 200, {}, body


def _rows(documents: list[dict[str, Any]], **fields: str) -> Answer:
    rows = [{"document_id": one["document_id"], "ingestion_id": "i", "status": "queued"} for one in documents]
    return 200, {}, {"results": [row | fields for row in rows]}


WRITES: dict[str, Callable[[str, list[dict[str, Any]]], Answer]] = {
    "error code": lambda key, _: (402, {}, {"error": key, "reason": key, "detail": {"code": key}}),
    "message": lambda key, _: (422, {}, {"detail": [{"msg": key, "input": key}]}),
    "correlation id": lambda key, _: (422, {"X-Correlation-ID": key}, {}),
    "correlation id in Base64": lambda key, _: (
        422,
        {"X-Correlation-ID": base64.b64encode(key.encode()).decode()},
        {"detail": key.encode().hex()},
    ),
    "page": lambda key, _: (500, {"X-Correlation-ID": key}, f"<html>{key}</html>"),
    "error of a row": lambda key, documents: _rows(documents, status="failed", error_message=key),
    "id of a row": lambda key, documents: _rows(documents, ingestion_id=key),
    "status of a row": lambda key, documents: _rows(documents, status=key),
    "wait": lambda key, _: (401, {"Retry-After": key}, {"detail": key}),
}


@pytest.fixture
def echoing() -> Iterator[Any]:
    """Give `echoing(whoami, write)`: a server that answers as they say; returns its address."""
    servers = []

    def start(whoami: Callable[[str], Answer], write: Callable[[str, list[dict[str, Any]]], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                key = self.headers["Authorization"]
                if self.path.endswith("/whoami"):
                    answer = whoami(key)
                elif "/status/" in self.path:
                    answer = (200, {"X-Correlation-ID": key}, {"status": "failed", "error_message": key})
                else:
                    answer = write(key, json.loads(body or b"{}").get("documents", []))
                status, headers, said = answer
                data = (said if isinstance(said, str) else json.dumps(said)).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _do  # noqa: N815 - names of the standard library

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _is_kept_out(stage: Any, *texts: str) -> None:
    files = [path for path in stage.folder.rglob("*") if path.is_file() and "source" not in path.parts]
    kept = {str(path.relative_to(stage.folder)): path.read_bytes() for path in files}
    kept |= {f"text {number}": text.encode() for number, text in enumerate(texts)}
    assert [(name, part) for name, data in kept.items() for part in PARTS if part.encode() in data] == []


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_key_that_is_answered_with_is_neither_shown_nor_kept(
    stage: Any, fill: Any, echoing: Any, write: Any
) -> None:
    fill(stage.folder / "source", 3)
    address = echoing(lambda _: _whoami(), write)
    stage.configure(
        base_url=address,
        transport="http",
        retry={"attempts": 1, "backoff": 0.01},
        timeouts={"connect": 2, "read": 2, "write": 2},
    )
    arguments = ("migrate", "old", "new", "--job", "j", *("--accept-loss", "all"), "--yes")
    code, out, err = stage.run(*arguments, "-vv", "--log-format", "json", key=KEY)
    assert code != 0
    _is_kept_out(stage, str(out), err)


@pytest.mark.parametrize(
    "whoami",
    [
        lambda key: (200, {}, {"client_id": key, "instance_id": key}),
        lambda key: (401, {"X-Correlation-ID": key}, {"detail": key, "error": key, "reason": key}),
        lambda key: (402, {}, {"error": key, "reason": key}),
        lambda key: (200, {}, f"<html>{key}"),
        lambda key: (302, {"Location": f"http://127.0.0.1:9/{key}"}, ""),
    ],
    ids=["instance", "refusal", "quota", "page", "redirect"],
)
def test_a_preflight_that_is_answered_with_the_key_shows_none_of_it(
    stage: Any, echoing: Any, whoami: Any
) -> None:
    stage.configure(base_url=echoing(whoami, WRITES["page"]), transport="http")
    code, out, err = stage.run("providers", "check", "new", "-vv", key=KEY)
    assert code in (2, 4)
    _is_kept_out(stage, str(out), err)
