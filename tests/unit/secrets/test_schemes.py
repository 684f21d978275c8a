import pytest

from memxfer.errors import SecretError
from memxfer.secrets import SCHEMES, is_reference, resolve


def test_a_new_scheme_is_one_more_entry(monkeypatch):
    monkeypatch.setitem(SCHEMES, "upper", str.upper)

    assert is_reference("upper:x")
    assert resolve("upper:abc:d") == "ABC:D"


@pytest.mark.parametrize("scheme", ["aws-ssm", "azure-kv"])
def test_the_other_planned_schemes_name_those_that_work(scheme):
    assert is_reference(f"{scheme}:x")
    with pytest.raises(
        SecretError, match=f"secrets from {scheme}: are not supported yet; use env:NAME or file:PATH"
    ):
        resolve(f"{scheme}:x")


def test_a_file_that_is_no_text_is_named_without_its_content(tmp_path):
    (tmp_path / "binary").write_bytes(b"hush\xff\xfe")

    with pytest.raises(SecretError, match="binary cannot be read: UnicodeDecodeError") as caught:
        resolve(f"file:{tmp_path}/binary")
    assert "hush" not in str(caught.value)
