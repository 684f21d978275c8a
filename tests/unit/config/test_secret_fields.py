"""Secrets in a provider that has several, locations, and everything wrong told at once."""

from typing import Annotated, ClassVar

import pytest
from pydantic import Field, SecretStr

from memxfer import registry
from memxfer.config import Connection, load_config, template
from memxfer.errors import ConfigError, SecretError, UnknownConnectionError
from memxfer.spi import ConnectionConfig, MemoryProvider, RemoteConfig
from memxfer.testing import ManualClock

SECRET = "sk-very-secret-value"


class KeyedConfig(RemoteConfig):
    token: SecretStr | None = Field(None, description="another secret")
    fancy: Annotated[SecretStr, Field(description="one more")] = SecretStr("")
    path: str = Field("", description="a place")
    depth: int = Field(1, ge=1, description="a number")


class Keyed(MemoryProvider[KeyedConfig]):
    name: ClassVar[str] = "keyed"
    summary: ClassVar[str] = "for tests"
    config_model: ClassVar[type[ConnectionConfig]] = KeyedConfig
    _capabilities = store = _connect = _aclose = None

    @classmethod
    def from_location(cls, location):
        return {"path": location, "api_key": "env:KEYED_KEY"}


@pytest.fixture(autouse=True)
def keyed(monkeypatch):
    monkeypatch.setenv("KEYED_KEY", SECRET)
    registry.register(Keyed)
    yield
    registry.unregister("keyed")


@pytest.fixture
def load(tmp_path):
    def write(text):
        file = tmp_path / "some.toml"
        file.write_text(text)
        return load_config(file)

    return write


@pytest.fixture
def block(load):
    def write(text):
        return load(f'[connections.new]\nprovider = "keyed"\n{text}\n').connection("new")

    return write


def test_opening_builds_the_provider_with_the_clock_it_is_given(block):
    clock = ManualClock()

    provider = block("api_key = 'env:KEYED_KEY'\ndepth = 4").open(clock=clock)

    assert isinstance(provider, Keyed)
    assert (provider.config.depth, provider.config.provider, provider.clock) == (4, "keyed", clock)


def test_every_secret_field_is_resolved_and_nothing_else(block, tmp_path):
    (tmp_path / "token").write_text("from the file\n")

    config = (
        block(
            f"api_key='literal'\ntoken='file:{tmp_path}/token'\nfancy='env:KEYED_KEY'\npath='env:KEYED_KEY'"
        )
        .open()
        .config
    )

    assert config.api_key.get_secret_value() == "literal"
    assert config.token.get_secret_value() == "from the file"
    assert config.fancy.get_secret_value() == SECRET
    assert config.path.endswith("env:KEYED_KEY")


def test_secrets_written_out_are_found_by_the_names_of_their_fields(block):
    written = block("api_key='literal'\ntoken='file:x'\nfancy='also literal'\npath='literal'")

    assert written.literal_secrets() == ["api_key", "fancy"]
    assert block("api_key='aws-sm:x'\ntoken=3").literal_secrets() == []


@pytest.mark.parametrize("reference", ["env:NOT_SET_HERE", "file:/no/such/file", "vault:x"])
def test_a_reference_that_leads_nowhere_is_told_with_file_block_and_field(block, reference):
    with pytest.raises(SecretError, match=r"some.toml: \[connections.new\]: 'token': .{20}"):
        block(f"api_key = 'env:KEYED_KEY'\ntoken = '{reference}'").open()


def test_all_wrong_fields_are_told_at_once_without_their_values(block):
    with pytest.raises(ConfigError) as caught:
        block("depth = -8642\ncolour = 'SENTINEL'\ntimeouts = { read = 'SENTINEL' }").open()

    message = str(caught.value)
    for told in (
        "'api_key' is missing",
        "'depth': Input",
        "unknown field 'colour'",
        "'timeouts.read': Input",
    ):
        assert told in message
    assert "SENTINEL" not in message
    assert "8642" not in message


def test_a_location_makes_a_connection_of_its_own(load):
    made = load("").connection("keyed:./x:y")

    settings = {"path": "./x:y", "api_key": "env:KEYED_KEY"}
    assert made == Connection("keyed:./x:y", "keyed", settings, "the command line")
    assert made.open().config.path == "./x:y"


def test_a_connection_of_that_name_comes_before_a_location(load):
    assert load('[connections."keyed:x"]\nprovider="memory"\n').connection("keyed:x").provider == "memory"


@pytest.mark.parametrize("name", ["nobody:x", "keyed", ":x"])
def test_what_is_neither_is_an_unknown_connection(load, name):
    with pytest.raises(UnknownConnectionError, match=f"no connection '{name}' in .*some.toml; known: none"):
        load("").connection(name)


def test_a_home_folder_in_a_path_is_understood_or_told(load, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    text = "[connections.a]\nprovider='keyed'\napi_key='k'\npath='{}'\n"

    found = load(text.format("~/mem0.json")).connection("a").open().config

    assert found.path == "/home/somebody/mem0.json"
    told = r"some.toml: \[connections.a\]: 'path': the home folder of '~no-such-user-here/x'"
    with pytest.raises(ConfigError, match=told):
        load(text.format("~no-such-user-here/x")).connection("a").open()


def test_every_commented_setting_of_init_is_one_its_provider_takes(load):
    lines = [line.removeprefix("# ") if " = " in line else line for line in template().splitlines()]

    settings = load("\n".join(lines)).connection("new").settings

    assert set(settings) <= set(registry.provider_class("synap").config_model.model_fields)
    assert len(settings) >= 5
