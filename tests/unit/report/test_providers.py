import io
from typing import Literal

from pydantic import Field, SecretStr
from rich.console import Console

from memxfer.report.providers import check_view, setting_rows
from memxfer.spi import BackendInfo, ConnectionConfig, RemoteConfig


class Settings(RemoteConfig):
    transport: Literal["sdk", "http"] = Field("sdk", description="how to talk")
    token: SecretStr | None = Field(None, description="another key")


def test_settings_are_listed_with_type_default_and_meaning():
    rows = {row[0]: row[1:] for row in setting_rows(Settings)}
    assert rows["api_key"][:2] == ("secret", "required")
    assert rows["transport"] == ('"sdk" | "http"', "sdk", "how to talk")
    assert rows["token"][:2] == ("secret", "-")
    assert rows["timeouts.read"] == ("number", "60.0", "seconds without a byte of the answer")
    assert rows["allow_empty"][:2] == ("true | false", "false")
    assert rows["base_url"][0] == "text"
    assert "provider" not in rows


def test_what_only_this_provider_has_comes_first():
    names = [name for name, *_ in setting_rows(Settings)]
    assert names.index("transport") < names.index("document_id")


def test_every_common_setting_has_a_meaning():
    assert all(meaning for *_, meaning in setting_rows(ConnectionConfig))


def test_a_check_shows_summary_details_and_warnings():
    out = io.StringIO()
    info = BackendInfo("an instance", warnings=("old[/b]",), details={"instance": "inst_1"})
    Console(file=out, width=100, markup=False).print(check_view("new", info))
    assert out.getvalue().splitlines() == ["new: ok. an instance", "  instance: inst_1", "  warning: old[/b]"]
