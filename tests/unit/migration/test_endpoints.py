import pytest

from memxfer import migration
from memxfer.config import load_config
from memxfer.errors import AuthError, ConfigError, NotReadyError, UnavailableError, UnsupportedOperationError
from memxfer.migration import Options
from memxfer.migration.endpoints import named
from memxfer.spi import BackendInfo, Role
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class Rising(MemoryReferenceProvider):
    """Not ready for as many questions as there are answers in `asks`."""

    asks = ()
    closed = 0

    async def _connect(self, role):
        if self.asks:
            seconds, *rest = self.asks
            self.asks = rest
            raise NotReadyError("still setting up", retry_after=seconds)
        return BackendInfo("up", warnings=("mind the gap",))

    async def _aclose(self):
        self.closed += 1


async def test_a_target_that_is_being_set_up_is_waited_for_as_it_asks(ends, clock, notes):
    ends.seed(1)
    target = ends.write(kind=Rising, clock=clock)
    target.asks = [20, None, 300, 0]

    await migration.diff(ends.read(), target, options=Options(wait_ready=True), observer=notes)

    assert clock.slept == [20, 15.0, 60.0, 15.0]
    assert [text for level, text in notes.notices if level == "info"] == [
        f"memory is not ready yet; asking again in {seconds} s" for seconds in (20, 15, 60, 15)
    ]
    assert ("warning", "memory: mind the gap") in notes.notices
    assert target.closed == 1


async def test_without_being_asked_to_nobody_waits(ends, clock):
    ends.seed(1)
    target = ends.write(kind=Rising, clock=clock)
    target.asks = [20]

    with pytest.raises(NotReadyError, match="connection memory: still setting up"):
        await migration.diff(ends.read(), target)

    assert clock.slept == []
    assert target.closed == 1


async def test_a_source_that_fails_leaves_nothing_open(ends):
    source, target = ends.read(kind=Rising), ends.write(kind=Rising)
    source.asks = [1]

    with pytest.raises(NotReadyError):
        await migration.diff(source, target)

    assert (source.closed, target.closed) == (1, 0)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("nobody answers", "new", "connection new: nobody answers"),
        (
            "some.toml: [connections.new]: 'x' is missing",
            "new",
            "some.toml: [connections.new]: 'x' is missing",
        ),
        ("cannot renew the token", "new", "connection new: cannot renew the token"),
        ("a is missing", "a", "a is missing"),
        ("an answer", "a", "connection a: an answer"),
        ("archive:./x is not there", "archive:./x", "archive:./x is not there"),
        ("odd (a+b) name", "(a+b)", "odd (a+b) name"),
    ],
)
def test_an_error_names_its_connection_once(text, name, shown):
    error = UnavailableError(text, provider="p", correlation_id="c1")

    assert named(named(error, name), name) is error
    assert str(error) == shown
    assert error.correlation_id == "c1"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        "[connections.local]\nprovider='memory'\nstore='check-me'\nallow_empty=true\n"
        "[connections.bad]\nprovider='memory'\nmax_page='many'\n"
        "[connections.far]\nprovider='synap'\napi_key='literal-key'\nbase_url='nowhere'\n"
    )
    return load_config(file)


async def test_check_opens_looks_and_closes(config, notes):
    info = await migration.check("local", config=config, observer=notes)

    assert info.summary == "memory store 'check-me' in this process"
    assert notes.notices == []


async def test_check_takes_a_provider_and_the_role_it_is_meant_for(ends):
    provider = ends.read(kind=Rising)
    seen = []
    provider._connect = lambda role: seen.append(role) or MemoryReferenceProvider._connect(provider, role)

    await migration.check(provider)
    await migration.check(provider, role=Role.TARGET)

    assert seen == [Role.SOURCE, Role.TARGET]
    assert provider.closed == 2


async def test_check_tells_which_connection_is_wrong(config):
    with pytest.raises(ConfigError, match=r"c.toml: \[connections.bad\]: 'max_page'"):
        await migration.check("bad", config=config)


async def test_a_key_written_out_is_warned_about_without_being_shown(config, notes):
    with pytest.raises(ConfigError, match="'base_url'") as caught:
        await migration.check("far", config=config, observer=notes)

    ((level, text),) = notes.notices
    assert (level, text.startswith("far: api_key is written out in ")) == ("warning", True)
    assert "literal-key" not in text + str(caught.value)


async def test_an_end_that_cannot_play_its_part_says_so(ends):
    class SourceOnly(MemoryReferenceProvider):
        @classmethod
        def is_target(cls):
            return False

    with pytest.raises(UnsupportedOperationError, match="memory cannot be written to; it is a source only"):
        await migration.diff(ends.read(), ends.write(kind=SourceOnly))


async def test_a_refused_key_stops_before_anything_is_read(ends):
    class Refusing(MemoryReferenceProvider):
        async def _connect(self, role):
            raise AuthError("the key is refused")

    with pytest.raises(AuthError, match="connection memory: the key is refused"):
        await migration.migrate(ends.read(kind=Refusing), ends.write())
