"""What a backend says, made fit to be stored and shown: without the connection's secrets, and in shape.

A backend, or a proxy before it, may say anything anywhere: the `Authorization` header as its error code,
a page of HTML as a correlation id, escape sequences as a status. Whatever comes back from a provider's
methods passes here once, before anybody stores, logs or shows it. Records are data, and are left alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import msgspec
from pydantic import BaseModel, SecretStr

from memxfer.errors import (
    AmbiguousError,
    FatalError,
    MemxferError,
    NotReadyError,
    ProviderError,
    RateLimitedError,
)
from memxfer.spi.writing import Outcome, WriteReceipt
from memxfer.waits import bounded_wait

__all__ = ["Scrubber", "secrets_of"]

_GAP: Final = "[...]"
_SHORTEST: Final = 4
"""Shorter secrets are in every text."""
_WHOLE_BELOW: Final = 8
"""Shorter secrets are looked for as whole words only, longer ones in part too, from half of them on."""
_MOST_TEXT: Final = 2000
_MOST_ID: Final = 64 * 1024
"""A handle may name all that a request has stored; a cursor may hold a place in many lists."""
_MOST_CHAIN: Final = 20
_IN_CODE: Final = re.compile(r"[^A-Za-z0-9_.:-]+")
_IN_TOKEN: Final = re.compile(r"[^A-Za-z0-9_.:/+=@-]+")
_MOST_CODE: Final = 64
_MOST_TOKEN: Final = 128
_SECRET_NAME: Final = re.compile(
    r"key|secret|token|passw|pwd|credential|auth|connection_string", re.IGNORECASE
)
_ESCAPED: Final = re.compile(r"\\(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[nrt])")
_DSN_PASSWORD: Final = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)


def secrets_of(value: Any, *, name: str = "") -> Iterator[str]:
    """Give the secrets in settings: secret fields, logins and query values of addresses, passwords of DSNs.

    Args:
        value: A model, a dict, a list, or a single setting.
        name: What the setting is called; a plain text is a secret if its name says so.
    """
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
        yield from _within_address(value.get_secret_value())
    elif isinstance(value, str):
        if _SECRET_NAME.search(name):
            yield value
        yield from _within_address(value)
    elif isinstance(value, BaseModel):
        yield from secrets_of({**value.__dict__, **(value.model_extra or {})})
    elif is_dataclass(value) and not isinstance(value, type):
        yield from secrets_of({field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_of(inner, name=str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_of(inner, name=name)


def _within_address(text: str) -> Iterator[str]:
    found = _DSN_PASSWORD.search(text)
    if found:
        yield found[1].strip("'")
    if "://" not in text:
        return
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.password:
            yield from (parts.password, unquote(parts.password))
        is_web = parts.scheme in ("http", "https")  # elsewhere a query holds options: hosts, time-outs
        yield from (value for name, value in parse_qsl(parts.query) if is_web or _SECRET_NAME.search(name))


def _forms(secret: str) -> Iterator[str]:
    """Give the ways in which a text may quote a secret, the secret itself first."""
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield binascii.hexlify(data).decode()
    for shift in range(3):  # wherever it begins within what was encoded, as behind `user:`
        encoded = base64.b64encode(bytes(shift) + data).decode()
        # The first and last characters depend on the neighbours.
        inner = encoded[(0, 2, 3)[shift] : (len(data) + shift) * 8 // 6]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))


def _compact(text: str) -> str:
    """Return a text without what may break a secret in two: blanks, line ends, invisible characters."""
    return "".join(text.split()) if text.isprintable() else "".join(filter(_is_solid, text))


def _is_solid(char: str) -> bool:
    return char.isprintable() and not char.isspace()


class Scrubber:
    """Takes the secrets of one connection out of what its backend said.

    A secret is found in any case, percent-encoded, in Base64 and hexadecimal, escaped as JSON, broken over
    lines, and in part.

    Args:
        secrets: The secrets, in clear.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        wanted = {one.strip() for one in secrets}
        whole = {one for one in wanted if len(_compact(one)) >= _WHOLE_BELOW}
        forms = {_compact(form).casefold() for one in whole for form in _forms(one)}
        words = {one.casefold() for one in wanted - whole if len(one) >= _SHORTEST}
        # A blank may come back as any other, and as several.
        found = [r"\s+".join(map(re.escape, word.split())) for word in sorted(words)]
        self._words = re.compile("|".join(rf"(?<!\w){word}(?!\w)" for word in found) or "(?!)", re.IGNORECASE)
        self._pieces: dict[int, set[str]] = {}
        self._blocks: set[str] = set()
        for form in forms:
            size = max(_WHOLE_BELOW, len(form) // 2)
            starts = range(len(form) - size + 1)
            self._pieces.setdefault(size, set()).update(form[at : at + size] for at in starts)
            self._blocks.update(form[at : at + size] for at in starts[::size])

    def holds(self, text: str) -> bool:
        """Tell, fast, whether a secret or one of its halves is in `text`."""
        lowered = _compact(text).casefold()
        return any(block in lowered for block in self._blocks)

    def text(self, text: str, *, limit: int = _MOST_TEXT) -> str:
        """Return one printable line without any secret, of at most `limit` characters."""
        kept = self._masked(text[: 4 * limit])
        if not kept.isprintable():
            kept = "".join(char if char.isprintable() else " " for char in kept).strip()
        return kept if len(kept) <= limit else f"{kept[: limit - len(_GAP)]}{_GAP}"

    def _masked(self, text: str) -> str:
        places = [at for at, char in enumerate(text) if _is_solid(char)]  # compared as `_compact` has it
        compact = "".join(text[at] for at in places).lower()
        hidden = bytearray(len(text))
        if len(compact) == len(places):  # a few capitals have no single small letter; none is in a key
            for first, last in self._hits(compact):
                hidden[places[first] : places[last] + 1] = b"\1" * (places[last] + 1 - places[first])
        for word in self._words.finditer(text):
            hidden[word.start() : word.end()] = b"\1" * (word.end() - word.start())
        if not any(hidden):
            return text
        edges = [0, *(at for at in range(1, len(text)) if hidden[at] != hidden[at - 1]), len(text)]
        return "".join(_GAP if hidden[begin] else text[begin:end] for begin, end in pairwise(edges))

    def _hits(self, compact: str) -> Iterator[tuple[int, int]]:
        for size, pieces in self._pieces.items():
            for at in range(len(compact) - size + 1):
                if compact[at : at + size] in pieces:
                    yield at, at + size - 1

    # -- what a provider gives back -----------------------------------------------------------

    def error(self, error: Exception) -> Exception:
        """Clean an error and what caused it, in place; return it, or another that says what it may say."""
        link: BaseException | None = error
        for _ in range(_MOST_CHAIN):
            if link is None:
                break
            if isinstance(link, MemxferError):
                self._clean(link)
            elif self._quotes(link):
                if link is error:
                    return self._withheld(error)
                link.args = ()
            following = link.__cause__ or link.__context__
            if following is not None and not isinstance(following, MemxferError) and self._quotes(following):
                link.__cause__ = link.__context__ = following = None
            link = following
        return error

    def _clean(self, error: MemxferError) -> None:
        if not isinstance(error, ProviderError):  # ours; may have several lines
            if error.args:
                lines = str(error).split("\n")
                error.args = ("\n".join(map(self.text, lines)), *error.args[1:])
            return
        error.args = (self.text(str(error)), *error.args[1:])
        error.code = self._code(error.code)
        error.correlation_id = self.token(error.correlation_id)
        if not isinstance(error.status, int):
            error.status = None
        if isinstance(error, RateLimitedError | NotReadyError):
            error.retry_after = bounded_wait(error.retry_after)

    def _quotes(self, error: BaseException) -> bool:
        said = " ".join([str(error), *map(repr, error.args), *getattr(error, "__notes__", ())])
        bare = _ESCAPED.sub("", said)  # what `repr` made of line ends and invisible characters
        return self._masked(said) != said or self._masked(bare) != bare

    def _withheld(self, error: Exception) -> ProviderError:
        kind = type(error)
        return ProviderError(
            f"the provider failed with {kind.__module__}.{kind.__qualname__}; its text is withheld, because "
            "it quotes a secret of the connection",
            code="withheld",
        )

    def _code(self, code: str | None) -> str | None:
        return self._shaped(code, _IN_CODE, _MOST_CODE)

    def token(self, token: str | None) -> str | None:
        """Return a correlation id in the shape of one; `None` where it is a secret or nothing is left."""
        return self._shaped(token, _IN_TOKEN, _MOST_TOKEN)

    def _shaped(self, word: str | None, foreign: re.Pattern[str], limit: int) -> str | None:
        if not word:
            return None
        if not isinstance(word, str) or self._masked(word[: 4 * limit]) != word[: 4 * limit]:
            return "withheld" if foreign is _IN_CODE else None
        return foreign.sub("_", word)[:limit].strip("_") or None

    def receipts(self, receipts: Sequence[WriteReceipt]) -> list[WriteReceipt]:
        """Return receipts that can be stored; one with an id that cannot is of unknown outcome."""
        for receipt in receipts:
            if receipt.error is not None:
                self.error(receipt.error)
        if self._are_plain(receipts):
            return list(receipts)
        return [self._receipt(receipt) for receipt in receipts]

    def _are_plain(self, receipts: Sequence[WriteReceipt]) -> bool:
        tokens = {receipt.correlation_id for receipt in receipts}
        ids = [one for receipt in receipts for one in (*receipt.target_ids, receipt.ingestion_id or "")]
        return (
            all(self.token(token) == token for token in tokens if token)
            and all(len(one) <= _MOST_ID for one in ids)
            and not self.holds(" ".join(ids))
        )

    def _receipt(self, receipt: WriteReceipt) -> WriteReceipt:
        token = self.token(receipt.correlation_id)
        for one in (*receipt.target_ids, receipt.ingestion_id or ""):
            if self._is_no_id(one):
                error = AmbiguousError(self._no_id(), code="bad_id", operation="write", correlation_id=token)
                return WriteReceipt(Outcome.UNKNOWN, error=error, correlation_id=token)
        return msgspec.structs.replace(receipt, correlation_id=token)

    def check_ids(self, ids: Iterable[str | None]) -> None:
        """Refuse ids, names and cursors that cannot be stored as they are.

        Raises:
            FatalError: One quotes a secret of the connection, or is absurdly long.
        """
        if any(self._is_no_id(one) for one in ids if one):
            raise FatalError(self._no_id(), code="bad_id")

    def _is_no_id(self, one: str) -> bool:
        return len(one) > _MOST_ID or self.holds(one)

    @staticmethod
    def _no_id() -> str:
        return (
            "what answers gives the connection's own secret, or an endless text, for an id; check that "
            "base_url names the service itself"
        )
