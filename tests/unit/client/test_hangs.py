"""Starting, swapping, closing and forking end, whatever a backend does; a dead one stops no app."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from memxfer.client import ClientClosedError, ClientSettings, Outbox, SyncMemoryClient
from memxfer.errors import (
    AuthError,
    ConfigError,
    LedgerError,
    MemxferError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    UnavailableError,
    UnsupportedOperationError,
)
from memxfer.models import Scope
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio
QUICK = ClientSettings(timeout=0.1, drain=0)


class Stubborn(MemoryReferenceProvider):
    """Hangs in connecting or closing, and takes no notice of being cancelled for a while."""

    hangs_in = ()
    swallows = 1
    opened = 0

    async def _hang(self, where):
        swallowed = 0
        while where in self.hangs_in:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > self.swallows:
                    raise

    async def _connect(self, role):
        await self._hang("connect")
        type(self).opened += 1
        return await super()._connect(role)

    async def _aclose(self):
        await self._hang("close")


@pytest.fixture
def stubborn(backends):
    def made(name, **values):
        backends.kinds[name] = kind = type(f"Stubborn{name}", (Stubborn,), values)
        return kind

    return made


# -- starting without a backend -----------------------------------------------------------------


@pytest.mark.parametrize("outbox", [True, False])
@pytest.mark.parametrize("swappable", [True, False])
async def test_an_app_starts_while_its_backend_hangs_and_remembers_later(
    backends, stubborn, caplog, outbox, swappable
):
    kind = stubborn("one", hangs_in=("connect",), swallows=0)
    make = backends.swappable if swappable else backends.client
    async with asyncio.timeout(4), make("one", "two", outbox=outbox, settings=QUICK) as memory:
        assert await memory.recall("x", scope=ANN, seconds=0.05) is None
        assert memory.supports("search")
        assert memory.capabilities().writing is not None
        if outbox:
            handle = await memory.ingest(text="kept", scope=ANN)
            assert handle.is_kept
        else:
            with pytest.raises(UnavailableError):
                await memory.ingest(text="kept", scope=ANN)
    assert "opening failed (UnavailableError): provider=one code=timeout" in caplog.text
    assert {name for name, _ in backends.made} == {"one"}
    kind.hangs_in = ()
    if outbox:
        async with make("one", "two", outbox=True) as memory:
            assert await memory.flush(3)
        assert backends.texts() == ["kept"]


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("down"),
        RateLimitedError("slow", retry_after=1),
        QuotaExceededError("no credit left"),
        ValueError("a vendor's"),
        OSError("no route"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_backend_that_is_down_at_first_is_opened_by_a_later_call(backends, clock, error):
    class Down(MemoryReferenceProvider):
        tries = 0

        async def _connect(self, role):
            type(self).tries += 1
            if type(self).tries < 3:
                raise error
            return await super()._connect(role)

    backends.kinds["one"] = Down
    async with backends.client(outbox=False, clock=clock) as memory:
        for _ in range(5):  # known to be down: not asked again at once
            assert await memory.recall("tea", scope=ANN) is None
        assert Down.tries == 1
        clock.advance(31)
        assert await memory.recall("tea", scope=ANN) is None
        clock.advance(31)
        await memory.ingest(text="tea", scope=ANN)
        assert (await memory.recall("tea", scope=ANN)).text == "- tea"
        assert Down.tries == 3


async def test_what_needs_somebody_to_act_is_said_at_the_start(backends):
    backends.faults["one"] = [Fault(FaultKind.AUTH, on="connect")]
    memory = backends.client("one", "two")
    with pytest.raises(AuthError, match="key"):
        await memory.initialize()
    with pytest.raises(MemxferError, match="call initialize"):
        await memory.get("x")
    backends.faults["one"] = []
    async with memory:
        assert await memory.get("x") is None


async def test_a_backend_nobody_asks_for_is_not_opened(backends):
    backends.faults["two"] = [Fault(FaultKind.AUTH, on="connect")]
    async with backends.client("one", "two", outbox=False) as memory:
        assert {name for name, _ in backends.made} == {"one"}
        with pytest.raises(AuthError):
            await memory.get("x", provider="two")
        assert await memory.get("x") is None
        assert await memory.recall("x", scope=ANN, provider="two") is None


async def test_many_calls_at_once_open_a_connection_once(backends, stubborn):
    kind = stubborn("two")
    async with backends.client("one", "two", outbox=False) as memory:
        await asyncio.gather(*(memory.get("x", provider="two") for _ in range(20)))
    assert kind.opened == 1


async def test_an_outbox_that_is_in_use_leaves_nothing_open(backends, tmp_path):
    taken = Outbox(tmp_path / "outbox.sqlite")
    memory = backends.client()
    with pytest.raises(LedgerError, match="in use"):
        await memory.initialize()
    assert all(provider.role is None for _, provider in backends.made)
    taken.close()
    async with memory:
        assert (await memory.ingest(text="x", scope=ANN)).is_kept


# -- hanging in the middle and at the end -------------------------------------------------------


async def test_a_swap_to_a_backend_that_hangs_is_given_up_and_changes_nothing(backends, stubborn):
    stubborn("two", hangs_in=("connect",))
    async with asyncio.timeout(4), backends.swappable(outbox=False, settings=QUICK) as memory:
        with pytest.raises(UnavailableError, match="two could not be opened in time"):
            await memory.swap("two")
        await memory.ingest(text="still here", scope=ANN)
        assert memory.current == "one"


@pytest.mark.parametrize("where", ["connect", "close"])
async def test_closing_ends_beside_a_backend_that_hangs(backends, stubborn, where):
    stubborn("one", hangs_in=(where,))
    for make in (backends.swappable, backends.client):
        async with asyncio.timeout(4):
            memory = make("one", "two", settings=QUICK)
            await memory.initialize()
            await memory.ingest(text="x", scope=ANN)
            await asyncio.sleep(0.05)
            await memory.aclose()
            await memory.aclose()
        (backends.folder / "outbox.sqlite").unlink()


async def test_closing_ends_beside_a_write_that_hangs_and_leaves_it_in_the_outbox(backends):
    class Hanging(MemoryReferenceProvider):
        async def _write(self, batch):
            await asyncio.sleep(60)

    backends.kinds["one"] = Hanging
    async with asyncio.timeout(4), backends.client(settings=QUICK) as memory:
        await memory.ingest(text="x", scope=ANN)
        await asyncio.sleep(0.05)
    del backends.kinds["one"]
    async with backends.client() as memory:
        assert await memory.flush(3)
    assert backends.texts() == ["x"]


# -- after closing ------------------------------------------------------------------------------

CALLS = {
    "ingest": lambda memory: memory.ingest(text="x", scope=ANN),
    "flush": lambda memory: memory.flush(0.1),
    "search": lambda memory: memory.search("x", scope=ANN),
    "get": lambda memory: memory.get("x"),
    "list": lambda memory: memory.list_memories(ANN),
    "update": lambda memory: memory.update("x", "y"),
    "delete": lambda memory: memory.delete("x"),
    "package": lambda memory: memory.package("x", scope=ANN),
    "swap": lambda memory: memory.swap("one"),
    "supports": lambda memory: memory.supports("search"),
    "capabilities": lambda memory: memory.capabilities(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_after_closing_say_so(backends, call):
    memory = SyncMemoryClient(
        {"one": backends.factory("one")}, outbox=backends.folder / "o.sqlite", settings=QUICK
    )
    memory.close()
    with pytest.raises(ClientClosedError, match="closed; make a new one"):
        call(memory)
    assert memory.recall("x", scope=ANN) is None


async def test_calls_of_a_closed_async_client_say_so_and_progress_too(backends):
    async with backends.swappable() as memory:
        handle = await memory.ingest(text="x", scope=ANN)

    async def made(call):
        result = call(memory)
        return await result

    for call in CALLS.values():
        with pytest.raises(ClientClosedError, match="closed; make a new one"):
            await made(call)
    assert await memory.recall("x", scope=ANN) is None
    with pytest.raises(MemxferError, match="closed"):
        await handle.progress()


def test_closing_in_one_thread_ends_the_calls_of_others(backends):
    class Slow(MemoryReferenceProvider):
        async def get(self, record_id):
            await asyncio.sleep(60)

    backends.kinds["one"] = Slow
    memory = SyncMemoryClient({"one": backends.factory("one")}, settings=QUICK)
    ended = []

    def ask():
        for _ in range(200):
            try:
                memory.get("x")
            except (ClientClosedError, UnavailableError) as error:
                if isinstance(error, ClientClosedError):
                    ended.append(error)
                    return

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    memory.close()
    for thread in threads:
        thread.join(4)
    assert len(ended) == 4


# -- forks --------------------------------------------------------------------------------------

_FORKING = """
    import asyncio, os, sys, time
    from memxfer.client import ClientClosedError, ClientSettings, MemoryClient, SyncMemoryClient
    from memxfer.models import Scope
    from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

    class Slow(MemoryReferenceProvider):
        async def _write(self, batch):
            await asyncio.sleep(0.02)
            return await super()._write(batch)

    ann = Scope(user="ann", session="chat")
    memory = SyncMemoryClient(
        {"m": lambda: Slow(MemoryConfig(provider="memory", store="f", max_batch=1))},
        outbox=sys.argv[1], settings=ClientSettings(drain=5),
    )
    children = []
    for number in range(20):
        memory.ingest(messages=[{"role": "user", "content": str(number)}], scope=ann)
        if number % 5 == 0:  # while others are being delivered
            child = os.fork()
            if not child:
                assert memory.recall("x", scope=ann) is None
                for call in (lambda: memory.get("x"), lambda: memory.ingest(text="x", scope=ann),
                             lambda: memory.flush(1), lambda: memory.supports("search")):
                    try:
                        call()
                    except ClientClosedError as error:
                        assert "before a fork" in str(error), error
                    else:
                        os._exit(3)
                inner = memory._client
                async def again():
                    assert await inner.recall("x", scope=ann) is None
                    try:
                        await inner.ingest(text="x", scope=ann)
                    except ClientClosedError:
                        return
                    os._exit(4)
                asyncio.run(again())
                memory.close()
                sys.exit(0)
            children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert memory.flush(10)
    try:  # what a child did on its way out has not let go of the file
        SyncMemoryClient({"m": {"provider": "memory", "store": "g"}}, outbox=sys.argv[1])
    except Exception as error:
        assert "in use" in str(error), error
    else:
        sys.exit("the lock is lost")
    memory.close()
    texts = [row.record.content for row in MemoryStore.named("f").rows()]
    assert texts == [f"User: {number}" for number in range(20)], texts
    print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_worker_is_told_and_the_parent_delivers_each_turn_once(tmp_path):
    program = textwrap.dedent(_FORKING)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "outbox.sqlite")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[0, 0, 0, 0]"


# -- the breaker, refusals for now, and what is logged -------------------------------------------


class Scripted(MemoryReferenceProvider):
    """Raises what the test says, and counts what it was asked."""

    error = None
    asked = 0
    gate = None

    async def search(self, query, *, scope, limit):
        type(self).asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return []


@pytest.fixture
def scripted(backends):
    backends.kinds["one"] = kind = type("ScriptedHere", (Scripted,), {})
    return kind


async def failing(call):
    with pytest.raises(MemxferError) as caught:
        await call
    return caught.value


async def test_an_open_breaker_lets_one_call_try_whatever_earlier_ones_still_say(backends, scripted, clock):
    settings = ClientSettings(timeout=5, breaker_failures=3, breaker_pause=30)
    async with backends.client(outbox=False, settings=settings, clock=clock) as memory:

        def search():
            return asyncio.create_task(memory.search("x", scope=ANN))

        scripted.gate = asyncio.Event()
        early = [search() for _ in range(3)]
        await asyncio.sleep(0.01)
        old_gate, scripted.gate = scripted.gate, None
        scripted.error = UnavailableError("down", provider="one")
        for _ in range(3):
            await failing(memory.search("x", scope=ANN))
        assert (await failing(memory.search("x", scope=ANN))).code == "breaker_open"
        clock.advance(31)
        scripted.gate = asyncio.Event()
        before = scripted.asked
        trial = search()
        await asyncio.sleep(0.01)
        early[0].cancel()
        old_gate.set()  # they fail only now
        await asyncio.gather(*early, return_exceptions=True)
        others = [search() for _ in range(5)]
        refused = await asyncio.gather(*others, return_exceptions=True)
        assert {error.code for error in refused} == {"breaker_open"}
        assert scripted.asked == before + 1
        scripted.error = None
        scripted.gate.set()
        assert await trial == []
        assert await memory.search("x", scope=ANN) == []


async def test_refusals_for_now_do_not_open_the_breaker_and_are_kept(backends, scripted, clock, caplog):
    scripted.error = RateLimitedError("slow", retry_after=2.5, provider="one", code="http_429")
    async with backends.client(outbox=False, clock=clock) as memory:
        for _ in range(7):
            assert (await failing(memory.search("x", scope=ANN))).retry_after == 2.5
        assert scripted.asked == 1  # it said when to come again
        assert await memory.get("x") is None
        assert not await memory.delete("x")
        clock.advance(3)
        scripted.error = None
        assert await memory.search("x", scope=ANN) == []
        for _ in range(7):
            scripted.error = RateLimitedError("slow", provider="one")
            await failing(memory.search("x", scope=ANN))
        scripted.error = None
        assert await memory.search("x", scope=ANN) == []
    assert "it asks to wait 2.5 s" in caplog.text


@pytest.mark.parametrize("asked", [1e308, "soon", float("nan"), -1, 10**400])
async def test_an_absurd_wait_blocks_no_operation_for_longer_than_the_breaker_would(
    backends, scripted, clock, asked
):
    async with backends.client(outbox=False, clock=clock) as memory:
        scripted.error = RateLimitedError("slow", retry_after=asked, provider="one")
        await failing(memory.search("x", scope=ANN))
        scripted.error = None
        clock.advance(31)
        assert await memory.search("x", scope=ANN) == []


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (AuthError("secret", provider="one", code="http_401", correlation_id="req-9"), logging.CRITICAL),
        (QuotaExceededError("secret", provider="one", correlation_id="req-9"), logging.CRITICAL),
        (RecordError("secret", provider="one", code="http_422", correlation_id="req-9"), logging.ERROR),
        (UnsupportedOperationError("secret", provider="one", correlation_id="req-9"), logging.ERROR),
        (ConfigError("a setting is wrong (req-9)"), logging.CRITICAL),
        (ValueError("secret"), logging.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_what_lasts_is_logged_as_such_and_once(backends, scripted, caplog, error, level):
    caplog.set_level(logging.INFO)
    async with backends.client(outbox=False) as memory:
        for _ in range(6):
            scripted.error = type(error)(*error.args, **{k: v for k, v in vars(error).items() if v})
            assert await memory.recall("my secret", scope=ANN) is None
    told = [one for one in caplog.records if "failed" in one.message]
    assert [one.levelno for one in told] == [level]
    assert "secret" not in caplog.text
    assert isinstance(error, ValueError) or "req-9" in caplog.text


async def test_what_passes_is_a_warning_each_time_and_a_slow_recall_opens_the_breaker(
    backends, scripted, caplog
):
    scripted.gate = asyncio.Event()
    async with backends.client(outbox=False) as memory:
        for _ in range(8):
            assert await memory.recall("x", scope=ANN, seconds=0.01) is None
    assert scripted.asked == 5
    assert {one.levelname for one in caplog.records} == {"WARNING"}
    assert "is not asked for 30 s" in caplog.text


async def test_a_recall_of_a_closed_or_wrong_client_is_logged_once(backends, caplog):
    async with backends.client(outbox=False) as memory:
        for _ in range(3):
            assert await memory.recall("x", scope=ANN, provider="three") is None
    for _ in range(3):
        assert await memory.recall("x", scope=Scope()) is None
    assert len(caplog.records) == 2
