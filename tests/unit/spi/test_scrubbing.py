"""A backend that quotes the connection's secrets, wherever it can, and says things of absurd shapes."""

import base64
import json
import logging
import traceback
from typing import ClassVar
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from memxfer.errors import (
    AmbiguousError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    ProviderError,
    RateLimitedError,
    RecordError,
    UnavailableError,
)
from memxfer.spi import (
    BackendInfo,
    ConnectionConfig,
    ContextPackage,
    Document,
    Ensured,
    IngestState,
    IngestStatus,
    MemoryProvider,
    Outcome,
    Page,
    Partition,
    RawPage,
    RemoteConfig,
    Role,
    StoreIdentity,
    WriteReceipt,
    secrets_of,
)
from memxfer.spi.scrubbing import Scrubber

pytestmark = pytest.mark.anyio

KEY = 'sk-live/QUARTZ+pelican"8841'
DOCUMENT = Document(key="k", record_id="r", body={}, size=1, scope="user")

QUOTED = {
    "as it is": KEY,
    "with its prefix": f"Bearer {KEY}",
    "in capitals": KEY.upper(),
    "percent-encoded": quote(KEY, safe=""),
    "as JSON": json.dumps({"header": f"Bearer {KEY}"}),
    "as a login": "Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(),
    "as a login of another": "Basic " + base64.urlsafe_b64encode(f"alice:{KEY}:x".encode()).decode(),
    "as hexadecimal": KEY.encode().hex(),
    "over two lines": f"{KEY[:12]}\r\n   {KEY[12:]}",
    "with invisible signs": "\u200b".join(KEY),
    "cut off": KEY[:18],
    "without its begin": KEY[8:],
}
PARTS = ("quartz", "pelican", "5155415254", "UVBUlRa", base64.b64encode(KEY.encode()).decode()[4:16])


def is_clean(text):
    packed = "".join(char for char in text if char.isprintable() and not char.isspace()).casefold()
    return not any(part.casefold() in packed for part in PARTS)


class Echo(MemoryProvider[RemoteConfig]):
    """Answers every call with what the test put in, or raises it."""

    name: ClassVar[str] = "echo"
    summary: ClassVar[str] = "for tests"
    config_model: ClassVar[type[ConnectionConfig]] = RemoteConfig
    lookup_visibility = "immediate"
    container_batch: ClassVar = {}
    says = None
    namespace = "main"

    def _capabilities(self):
        raise NotImplementedError

    def store(self):
        return StoreIdentity("echo", self.namespace)

    def _say(self, default=None):
        if isinstance(self.says, Exception):
            raise self.says
        return self.says if self.says is not None else default

    async def _connect(self, role):
        return self._say(BackendInfo(f"open as {role}"))

    async def _aclose(self):
        pass

    async def _finish(self):
        self._say()

    async def _read_page(self, partition, cursor, limit):
        return self._say()

    def _decode(self, row, partition):
        raise RecordError(row, code=row)

    async def _write(self, batch):
        return self._say()

    async def partitions(self):
        yield self._say()

    async def count(self):
        return self._say()

    async def lookup(self, keys):
        return self._say()

    async def ensure(self, wanted):
        return self._say()

    async def ingest_status(self, ingestion_id):
        return self._say()

    async def search(self, query, *, scope, limit):
        return self._say()

    async def list_scoped(self, scope, *, limit, cursor):
        return self._say()

    async def package(self, query, *, scope, limit):
        return self._say()

    def join(self, parts):
        return self._say()


@pytest.fixture
async def echo():
    provider = Echo(RemoteConfig(provider="echo", api_key=KEY, base_url="https://echo.example"))
    await provider.connect(Role.APP)
    return provider


async def listed(provider):
    return [partition async for partition in provider.list_partitions()]


CALLS = {
    "connect": lambda p: p.connect(Role.APP),
    "finish": lambda p: p.finish(),
    "read_page": lambda p: p.read_page(Partition("all"), None, 5),
    "write": lambda p: p.write([DOCUMENT]),
    "partitions": listed,
    "count": lambda p: p.count(),
    "lookup": lambda p: p.lookup(["k"]),
    "ensure": lambda p: p.ensure([]),
    "ingest_status": lambda p: p.ingest_status("i"),
    "search": lambda p: p.search("q", scope=None, limit=1),
    "package": lambda p: p.package("q", scope=None, limit=1),
}


def chain(error):
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_no_error_of_any_call_quotes_the_key_in_any_form(echo, call, quoted):
    echo.says = BatchRefusedError(f"echo says: {quoted}", code=quoted, correlation_id=quoted, status=422)
    echo.says.__cause__ = ValueError(f"the header was {quoted}")
    with pytest.raises(BatchRefusedError) as caught:
        await call(echo)
    error = caught.value
    assert is_clean(f"{error} {error.code} {error.correlation_id} {error.args}")
    assert is_clean(chain(error))
    assert str(error).startswith("echo says: ")
    assert error.status == 422


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
async def test_foreign_exceptions_that_quote_the_key_are_replaced(echo, quoted):
    echo.says = LookupError("no such thing", {"Authorization": quoted})
    with pytest.raises(ProviderError, match=r"builtins\.LookupError") as caught:
        await echo.search("q", scope=None, limit=1)
    assert is_clean(chain(caught.value))


async def test_foreign_exceptions_that_quote_nothing_pass_as_they_are(echo):
    echo.says = LookupError("no such thing")
    with pytest.raises(LookupError, match="no such thing"):
        await echo.count()


async def test_an_error_of_the_configuration_is_cleaned_line_by_line(echo):
    echo.says = ConfigError(f"first\nsecond {KEY}")
    with pytest.raises(ConfigError) as caught:
        await echo.connect(Role.APP)
    assert str(caught.value) == "first\nsecond [...]"


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
async def test_receipts_and_progress_carry_no_key(echo, quoted):
    refused = RecordError(f"bad {quoted}", code=quoted, correlation_id=quoted)
    echo.says = [WriteReceipt(Outcome.REJECTED, error=refused, correlation_id=quoted)]
    [receipt] = await echo.write([DOCUMENT])
    assert is_clean(f"{receipt.error} {receipt.error.code} {receipt.error.correlation_id}")
    assert is_clean(str(receipt.correlation_id))
    echo.says = IngestStatus(IngestState.FAILED, error=RecordError(f"bad {quoted}", code=quoted))
    status = await echo.ingest_status("i")
    assert is_clean(f"{status.error} {status.error.code}")


@pytest.mark.parametrize("bad", [KEY, f"Bearer {KEY}", "x" * 100_000], ids=["key", "header", "endless"])
async def test_ids_that_cannot_be_stored_make_the_outcome_unknown(echo, bad):
    echo.says = [
        WriteReceipt(Outcome.CREATED, target_ids=("good",), correlation_id="c-1"),
        WriteReceipt(Outcome.CREATED, target_ids=("good", bad)),
        WriteReceipt(Outcome.PENDING, ingestion_id=bad),
    ]
    good, *others = await echo.write([DOCUMENT] * 3)
    assert good == WriteReceipt(Outcome.CREATED, target_ids=("good",), correlation_id="c-1")
    assert [receipt.outcome for receipt in others] == [Outcome.UNKNOWN] * 2
    assert all(isinstance(receipt.error, AmbiguousError) for receipt in others)
    assert all(is_clean(repr(receipt)) for receipt in others)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("read_page", RawPage([], f"Bearer {KEY}")),
        ("read_page", RawPage([], "x" * 100_000)),
        ("partitions", Partition(KEY)),
        ("lookup", {"k": (KEY,)}),
        ("ensure", [Ensured(f"Bearer {KEY}")]),
        ("ensure", [Ensured("id", task=KEY)]),
        ("ingest_status", IngestStatus(IngestState.STORED, target_ids=(KEY,))),
    ],
)
async def test_cursors_names_and_ids_that_cannot_be_stored_stop_the_work(echo, call, answer):
    echo.says = answer
    with pytest.raises(FatalError, match="own secret") as caught:
        await CALLS[call](echo)
    assert is_clean(chain(caught.value))


async def test_a_listing_of_an_app_and_its_packages_are_cleaned_and_their_texts_are_not(echo):
    echo.says = Page([], next_cursor=KEY)
    with pytest.raises(FatalError):
        await echo.list_scoped(None, limit=1, cursor=None)
    echo.says = ContextPackage(f"I told you {KEY}", correlation_id=KEY)
    package = await echo.package("q", scope=None, limit=1)
    assert (package.text, package.correlation_id) == (f"I told you {KEY}", None)


@pytest.mark.parametrize("namespace", [KEY, f"Bearer {KEY}", "n" * 100_000, "in\x1b[31mst"])
async def test_a_store_that_is_named_by_the_key_or_by_no_name_is_refused(echo, namespace):
    echo.namespace = namespace
    with pytest.raises(FatalError) as caught:
        echo.store()
    assert is_clean(str(caught.value))


async def test_what_the_preflight_found_is_cleaned(echo):
    echo.says = BackendInfo(f"for {KEY}", (f"\x1b]0;{KEY}\x07",), {"version": f"2\u202e{KEY}"})
    info = await echo.connect(Role.APP)
    assert info == BackendInfo("for [...]", ("]0;[...]",), {"version": "2 [...]"})


async def test_rows_that_cannot_be_read_quote_nothing(echo):
    echo.says = RawPage([f"Bearer {KEY}"], None)
    [defect] = (await echo.read_page(Partition("all"), None, 5)).defects
    assert is_clean(f"{defect.error} {defect.error.code}")


async def test_words_and_ids_get_the_shape_of_words_and_ids(echo):
    echo.says = UnavailableError(
        "gone\x1b[2J\n\u202eevil " + "x" * 9000, code="a b\x00c" + "d" * 500, correlation_id="<p>\r\nX: y"
    )
    echo.says.status = "five"
    with pytest.raises(UnavailableError) as caught:
        await echo.count()
    error = caught.value
    assert str(error).isprintable()
    assert len(str(error)) <= 2000
    assert (error.code[:8], len(error.code)) == ("a_b_cddd", 64)
    assert (error.correlation_id, error.status) == ("p_X:_y", None)


async def test_ordinary_errors_are_left_as_they_are(echo):
    echo.says = RateLimitedError(
        "echo asks to slow down (429)",
        retry_after=3,
        code="rate_limited",
        correlation_id="req_8/a-b.c:d=",
        status=429,
    )
    with pytest.raises(RateLimitedError) as caught:
        await echo.count()
    error = caught.value
    assert (str(error), error.code, error.correlation_id) == (
        "echo asks to slow down (429)",
        "rate_limited",
        "req_8/a-b.c:d=",
    )


@pytest.mark.parametrize("count", [-1, 10**400, 2**63])
async def test_counts_that_are_none_reach_no_ledger(echo, count):
    echo.says = count
    with pytest.raises(FatalError, match="count"):
        await echo.count()
    echo.says = RawPage([], None, total=count)
    assert (await echo.read_page(Partition("all"), None, 5)).total is None
    echo.says = Partition("all", total=count)
    assert [partition.total for partition in await listed(echo)] == [None]


async def test_operations_of_a_mixin_are_guarded_too():
    class Mixin:
        async def search(self, query, *, scope, limit):
            raise RecordError(KEY)

    class Mixed(Mixin, Echo):
        pass

    mixed = Mixed(RemoteConfig(provider="echo", api_key=KEY))
    await mixed.connect(Role.APP)
    with pytest.raises(RecordError, match=r"^\[\.\.\.\]$"):
        await mixed.search("q", scope=None, limit=1)


# -- which secrets there are ----------------------------------------------------------------------


def test_secrets_are_found_wherever_settings_keep_them():
    settings = {
        "api_key": SecretStr("one-secret"),
        "nested": [
            {"connection_string": SecretStr("postgresql://ann:two%20secret@host/db?sslpassword=three-secret")}
        ],
        "url": "https://bob:four-secret@host/x?token=five-secret",
        "llm": {"config": {"openai_api_key": "six-secret", "model": "gpt"}},
        "dsn": "host=h user=u password='seven secret' dbname=d",
        "headers": {"Authorization": "Bearer eight-secret"},
        "plain": "not one",
    }
    found = set(secrets_of(settings))
    wanted = {
        "one-secret",
        "two secret",
        "three-secret",
        "four-secret",
        "five-secret",
        "six-secret",
        "seven secret",
    }
    assert found >= {*wanted, "Bearer eight-secret"}
    assert not found & {"not one", "gpt", "ann", "bob"}


def test_short_secrets_are_hidden_as_words_only():
    scrubber = Scrubber(["key1", "ab"])
    assert scrubber.text("the monkey1 said key1, ab") == "the monkey1 said [...], ab"


@pytest.mark.parametrize("secret", ["correct horse battery staple", "000000 0", "a b c d e f g h"])
def test_a_secret_with_blanks_in_it_does_not_come_out(secret):
    scrubber = Scrubber([secret])
    for said in (secret, f"bad login {secret!r}", secret.replace(" ", "\n"), secret.replace(" ", "  ")):
        shown = scrubber.text(f"refused: {said}")
        assert secret not in shown
        assert shown.startswith("refused: ")
    assert "[...]" in scrubber.text(secret)


@given(st.text(min_size=8), st.text(max_size=50), st.text(max_size=50))
def test_whatever_the_secret_is_it_does_not_come_out(secret, before, after):
    text = Scrubber([secret]).text(before + secret + after)
    inner = secret.strip()
    if len(inner) >= 8 and inner.isascii() and inner.isprintable() and inner not in before + after:
        assert inner not in text
    assert text.isprintable()


# -- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ann:URLSECRET@host", "login"),
        ("https://URLSECRET@host/x", "login"),
        ("https://host/x?token=URLSECRET", "before any"),
        ("https://host/#URLSECRET", "before any"),
        ("https://host/x?", "before any"),
        ("https://host URLSECRET", "before any"),
        ("https://ann:URLSECRET", "after a colon a port"),
        ("https://[URLSECRET", "must name a host"),
        ("https://:URLSECRET@", "must name a host"),
        ("ftp://ann:URLSECRET@host", "http://"),
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_without_being_shown(url, words):
    with pytest.raises(ValidationError, match=words) as caught:
        RemoteConfig(provider="echo", api_key="k", base_url=url)
    assert "URLSECRET" not in str(caught.value)


def test_a_refused_setting_never_quotes_its_value():
    with pytest.raises(ValidationError) as caught:
        RemoteConfig(provider="echo", api_key=KEY, bogus=KEY, max_rate=KEY)
    assert is_clean(str(caught.value))


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://echo.example", True),
        ("http://10.0.0.7:8080/x", True),
        ("https://echo.example", False),
        ("http://127.0.0.1:8090", False),
        ("http://[::1]:8090", False),
        ("http://localhost:8090", False),
        ("http://localhost.example", True),
        (None, False),
    ],
)
async def test_a_key_that_travels_in_clear_is_warned_of(url, is_warned):
    info = await Echo(RemoteConfig(provider="echo", api_key=KEY, base_url=url)).connect(Role.APP)
    assert any("in clear" in warning for warning in info.warnings) is is_warned


async def test_nothing_of_it_is_logged(echo, caplog):
    caplog.set_level(logging.DEBUG)
    echo.says = RecordError(KEY)
    with pytest.raises(RecordError):
        await echo.count()
    assert is_clean(caplog.text)
