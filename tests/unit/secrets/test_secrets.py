import pytest

from memxfer.errors import SecretError
from memxfer.secrets import is_reference, resolve


def test_a_reference_to_the_environment_gives_its_value(monkeypatch):
    monkeypatch.setenv("MX_KEY", "value with: colon")
    assert resolve("env:MX_KEY") == "value with: colon"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(monkeypatch, value):
    monkeypatch.delenv("MX_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MX_KEY", value)
    with pytest.raises(SecretError, match="MX_KEY is not set"):
        resolve("env:MX_KEY")


@pytest.mark.parametrize("pasted", ["sk-secret", "", "a b", "x=y", "ä", "sk_live_4242", "Qx81Zt"])
def test_a_key_pasted_behind_env_is_not_quoted(pasted):
    with pytest.raises(SecretError) as caught:
        resolve(f"env:{pasted}")
    assert pasted == "" or pasted not in str(caught.value).removeprefix("env: takes the name of an")


def test_a_key_pasted_behind_file_is_not_quoted():
    with pytest.raises(SecretError) as caught:
        resolve("file:sk_live_4242")
    assert "4242" not in f"{caught.value} {caught.value.__cause__}"


def test_a_file_too_large_for_a_key_is_refused_unread(tmp_path):
    (tmp_path / "key").write_bytes(b"x" * 100_000)
    with pytest.raises(SecretError, match="no key"):
        resolve(f"file:{tmp_path / 'key'}")


def test_a_file_gives_its_text_without_the_last_newline(tmp_path):
    (tmp_path / "key").write_text("  sk-1\n")
    assert resolve(f"file:{tmp_path / 'key'}") == "sk-1"


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text("sk-1")
    assert resolve("file:~/key") == "sk-1"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SecretError, match="key"):
        resolve(f"file:{tmp_path / 'key'}")


@pytest.mark.parametrize("path", ["\x00", "~no-such-user-here/key", "."])
def test_a_path_that_is_none_is_a_secret_error(path):
    with pytest.raises(SecretError):
        resolve(f"file:{path}")


@pytest.mark.parametrize("scheme", ["keyring", "aws-sm", "vault", "gcp-sm"])
def test_a_scheme_to_come_is_never_taken_for_a_key(scheme):
    with pytest.raises(SecretError, match="not supported yet") as caught:
        resolve(f"{scheme}:secret-name")
    assert "secret-name" not in str(caught.value)


@pytest.mark.parametrize("text", ["sk-1", "", "http://x", "ENV:X", "environment:X", ":x", "env"])
def test_anything_else_is_the_secret_itself(text):
    assert resolve(text) == text
    assert not is_reference(text)


@pytest.mark.parametrize("text", ["env:X", "file:/x", "vault:a/b"])
def test_references_are_told_from_keys(text):
    assert is_reference(text)
