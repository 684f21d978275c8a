"""A configuration that is wrong says where and how, and never quotes a secret."""

from pathlib import Path

import pytest

from memxfer.config import DEFAULT_PATH, Config, load_config, state_dir_of, template
from memxfer.errors import ConfigError, SecretError, UnknownConnectionError, UnknownProviderError

SECRET = "sk-very-secret-0123456789"  # what must never be quoted


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEMXFER_CONFIG", raising=False)
    monkeypatch.delenv("MEMXFER_STATE_DIR", raising=False)
    return tmp_path


@pytest.fixture
def write(here):
    def written(text, name=DEFAULT_PATH):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
        return here / name

    return written


def opened(text, write, name="c"):
    write(text)
    return load_config().connection(name).open()


def test_a_connection_is_what_its_block_says(write):
    provider = opened('[connections.c]\nprovider = "memory"\nstore = "s"\nbatch_size = 7', write)
    assert (provider.name, provider.config.store, provider.config.batch_size) == ("memory", "s", 7)
    assert provider.config.provider == "memory"


def test_without_a_file_there_is_no_connection_and_the_message_says_how_to_make_one():
    config = load_config()
    assert config.connections == {}
    with pytest.raises(UnknownConnectionError, match="memxfer init"):
        config.connection("old")


def test_the_file_is_the_named_one_then_the_environments_then_the_one_here(write, monkeypatch):
    write('[connections.here]\nprovider = "memory"')
    env = write('[connections.env]\nprovider = "memory"', "env.toml")
    named = write('[connections.named]\nprovider = "memory"', "named.toml")
    assert set(load_config().connections) == {"here"}
    monkeypatch.setenv("MEMXFER_CONFIG", str(env))
    assert set(load_config().connections) == {"env"}
    assert set(load_config(named).connections) == {"named"}


def test_a_file_like_provider_needs_no_block():
    connection = Config().connection("memory:elsewhere")
    assert connection.open().config.store == "elsewhere"
    assert connection.settings == {"provider": "memory", "store": "elsewhere"}


def test_a_remote_provider_takes_no_location():
    with pytest.raises(ConfigError, match=r"\[connections.NAME\]"):
        Config().connection("synap:somewhere")


def test_paths_are_relative_to_their_file(write, here):
    write('[connections.c]\nprovider = "archive"\npath = "data/x"', "deep/memxfer.toml")
    connection = load_config(here / "deep/memxfer.toml").connection("c")
    assert connection.open().config.path == here / "deep/data/x"
    write('[connections.c]\nprovider = "archive"\npath = "/abs/x"')
    assert load_config().connection("c").open().config.path == Path("/abs/x")


@pytest.mark.parametrize(
    ("provider", "field"),
    [("memory", "identity"), ("synap", "cache_path"), ("graphiti", "path"), ("mem0-oss", "config_file")],
)
@pytest.mark.parametrize("named", ["deep/memxfer.toml", "./deep/../deep/memxfer.toml"])
def test_every_path_of_every_provider_counts_from_the_file(write, here, provider, field, named):
    write(f'[connections.c]\nprovider = "{provider}"\n{field} = "data/x"\n', "deep/memxfer.toml")
    if provider == "synap":
        write(
            '[connections.c]\nprovider = "synap"\napi_key = "k"\ncache_path = "data/x"', "deep/memxfer.toml"
        )
    found = getattr(load_config(named).connection("c").open().config, field)
    assert found.is_absolute()
    assert found.resolve() == here / "deep/data/x"


def test_the_secrets_file_and_inline_paths_count_from_the_file_too(write, here):
    write("sk-from-file\n", "deep/keys/synap")
    write('[connections.c]\nprovider = "synap"\napi_key = "file:keys/synap"', "deep/memxfer.toml")
    assert (
        load_config("deep/memxfer.toml").connection("c").open().config.api_key.get_secret_value()
        == "sk-from-file"
    )
    write('[connections.c]\nprovider = "mem0-oss"\nmemory = { version = "v1.1" }', "deep/memxfer.toml")
    assert load_config("deep/memxfer.toml").connection("c").open().config.folder == here / "deep"


def test_the_file_that_an_identity_names_is_told_in_a_plan_by_its_name_alone(write, here):
    write('[connections.c]\nprovider = "memory"\nidentity = "data/people.csv"', "deep/memxfer.toml")
    config = load_config(here / "deep/memxfer.toml").connection("c").open().config
    assert config.decisions() == {"identity": "people.csv"}


# -- the state folder ---------------------------------------------------------------------------


def test_the_state_folder_is_the_one_given_then_the_environments_then_beside_the_file(
    here, write, monkeypatch
):
    monkeypatch.setenv("HOME", str(here / "home"))
    file = write("", "deep/memxfer.toml")
    assert state_dir_of() == here / ".memxfer"
    assert state_dir_of(config="deep/memxfer.toml") == here / "deep/.memxfer"
    assert state_dir_of(config=load_config(file)) == here / "deep/.memxfer"
    assert state_dir_of(config=Config()) == here / ".memxfer"
    monkeypatch.setenv("MEMXFER_CONFIG", "deep/memxfer.toml")
    assert state_dir_of() == here / "deep/.memxfer"
    monkeypatch.setenv("MEMXFER_STATE_DIR", "~/jobs")
    assert state_dir_of() == state_dir_of(config=file) == here / "home/jobs"
    assert state_dir_of("mine", config=file) == here / "mine"
    with pytest.raises(ConfigError, match="home folder of '~no-such-user-here'"):
        state_dir_of("~no-such-user-here")


# -- encodings ----------------------------------------------------------------------------------

TEXT = '[connections.c]\nprovider = "memory"\nstore = "ä"\n'


def test_a_byte_order_mark_is_no_error(here):
    (here / DEFAULT_PATH).write_bytes(TEXT.encode("utf-8-sig"))
    assert load_config().connection("c").open().config.store == "ä"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_unicode_encoding_is_refused_by_its_name(here, encoding):
    (here / DEFAULT_PATH).write_bytes(TEXT.encode(encoding))
    with pytest.raises(
        ConfigError, match=r"memxfer.toml cannot be read: it is UTF-16 or UTF-32; save it as UTF-8"
    ):
        load_config()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("connections = 3", "connections.NAME"),
        ("[connections]\nold = 3", 'connections.old.*provider = "NAME"'),
        ("[connections.old]\nstore = 'x'", 'connections.old.*provider = "NAME"'),
        ("[connections.old]\nprovider = 3", 'connections.old.*provider = "NAME"'),
        ("[conections.old]\nprovider = 'memory'", r"unknown section \[conections\]"),
        ("[connections.old", "not valid TOML"),
    ],
)
def test_a_file_of_another_form_is_named_with_what_is_wrong(write, text, told):
    file = write(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load_config(file)
    assert str(file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(here):
    with pytest.raises(ConfigError, match=r"no configuration file .*nowhere.toml"):
        load_config("nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(here)
    (here / "latin.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"latin.toml cannot be read"):
        load_config("latin.toml")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("bacth_size = 3", "unknown field 'bacth_size'"),
        ("batch_size = 0", "'batch_size'"),
        ("batch_size = 'many'", "'batch_size'"),
        ("listing = 'sideways'", "'listing'"),
        ("retry = { attempts = 0 }", "'retry.attempts'"),
        ("retry = { tries = 3 }", "unknown field 'retry.tries'"),
        ("drops = ['content']", "'drops'.*content"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_block(write, line, told):
    with pytest.raises(ConfigError, match=told) as caught:
        opened(f'[connections.c]\nprovider = "memory"\n{line}', write)
    assert f"{DEFAULT_PATH}: [connections.c]" in str(caught.value)
    assert "memxfer providers show memory" in str(caught.value)


def test_a_missing_field_is_named(write):
    with pytest.raises(ConfigError, match="'api_key' is missing"):
        opened('[connections.c]\nprovider = "synap"', write)


def test_an_unknown_connection_is_told_with_the_known_ones(write):
    write('[connections.b]\nprovider = "memory"\n[connections.a]\nprovider = "memory"')
    with pytest.raises(UnknownConnectionError, match="known: a, b"):
        load_config().connection("old")


def test_an_unknown_provider_is_told_with_the_known_ones(write):
    with pytest.raises(UnknownProviderError, match=r"'mem0x'.*memory"):
        opened('[connections.c]\nprovider = "mem0x"', write)


@pytest.mark.parametrize(
    "lines",
    [
        f'api_key = "{SECRET}"\nbase_url = "no url"',
        f'api_key = "{SECRET}"\nunknown = 3',
        f'api_key = ["{SECRET}"]',
        f'api_key = {{ key = "{SECRET}" }}',
        f'api_key = "{SECRET}"\nbase_url = 3\ntimeouts = "{SECRET}"',
        'api_key = "env:MX_KEY"\ntransport = "pigeon"',
    ],
)
def test_no_error_quotes_a_secret(write, monkeypatch, lines):
    monkeypatch.setenv("MX_KEY", SECRET)
    with pytest.raises(ConfigError) as caught:
        opened(f'[connections.c]\nprovider = "synap"\n{lines}', write)
    shown = [str(caught.value), repr(caught.value)]
    cause = caught.value
    while cause := (cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)):
        shown += [str(cause), repr(cause)]
    assert not any(SECRET in text for text in shown)


def test_a_reference_is_resolved_when_the_connection_is_opened_and_shown_nowhere(write, monkeypatch):
    write('[connections.c]\nprovider = "synap"\napi_key = "env:MX_KEY"')
    connection = load_config().connection("c")
    with pytest.raises(SecretError, match="MX_KEY is not set") as caught:
        connection.open()
    assert "[connections.c]" in str(caught.value)
    assert "'api_key'" in str(caught.value)
    monkeypatch.setenv("MX_KEY", SECRET)
    provider = connection.open()
    assert provider.config.api_key.get_secret_value() == SECRET
    assert SECRET not in repr(provider.config) + str(provider.config) + repr(connection)
    assert connection.literal_secrets() == []


def test_a_key_that_is_written_out_is_noticed(write):
    write(f'[connections.c]\nprovider = "synap"\napi_key = "{SECRET}"')
    connection = load_config().connection("c")
    assert connection.literal_secrets() == ["api_key"]
    assert connection.open().config.api_key.get_secret_value() == SECRET


def test_the_template_is_a_configuration(write):
    write(template())
    config = load_config()
    assert set(config.connections) == {"old", "new"}
    assert config.connection("new").literal_secrets() == []
