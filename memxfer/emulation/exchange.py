"""One request and its answer, as an emulator's handlers see them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from python_multipart import parse_form
from python_multipart.exceptions import FormParserError

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A complete request: the body has been read before any handler runs.

    Attributes:
        method: Upper-case HTTP method.
        path: Decoded path, without the query.
        params: Values of the path template (`{memory_id}` and the like).
        query: Query parameters; the last of repeated ones.
        headers: Header names in lower case.
        body: The raw body.
        identity: What `Emulator.authenticate` returned; `None` on open routes.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    identity: Any = None

    def decode(self, decoder: msgspec.json.Decoder[_T]) -> _T:
        """Decode the JSON body.

        Raises:
            RefusedError: 422, when the body is not the JSON that the route takes.
        """
        try:
            return decoder.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(422, f"The request body is not valid: {error}") from error

    def form(self) -> dict[str, bytes]:
        """Decode a multipart or URL-encoded form into field name -> value.

        Raises:
            RefusedError: 422, when the body is no such form.
        """
        content_type = self.headers.get("content-type", "")
        if not content_type.startswith("multipart/form-data"):
            fields = parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)
            return {name: values[-1].encode() for name, values in fields.items()}
        return _multipart(content_type, self.body)


def _multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}

    def on_field(part: Any) -> None:
        fields[part.field_name.decode("utf-8", "replace")] = part.value or b""

    def on_file(part: Any) -> None:
        part.file_object.seek(0)
        fields[part.field_name.decode("utf-8", "replace")] = part.file_object.read()
        part.close()

    headers = {"Content-Type": content_type.encode(), "Content-Length": b"%d" % len(body)}
    try:
        parse_form(headers, io.BytesIO(body), on_field, on_file)
    except FormParserError as error:
        raise RefusedError(422, f"The form is not valid: {error}") from error
    return fields


@dataclass(frozen=True)
class Answer:
    """A response: `body` is sent as it is when it is `bytes`, else encoded as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.status == 204 else msgspec.json.encode(self.body)


class RefusedError(Exception):
    """Raised by a handler to answer with an error.

    Args:
        status: HTTP status.
        detail: Text or object, rendered by the emulator in its backend's error format.
        headers: Extra response headers.
    """

    def __init__(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
