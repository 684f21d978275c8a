import json

import pytest

from memxfer import registry
from memxfer.errors import ProviderNotInstalledError
from memxfer.spi import BackendInfo, Role


def test_one_provider_that_does_not_load_hides_no_other(cli, monkeypatch):
    load = registry.provider_class

    def provider_class(name):
        if name == "broken":
            raise ProviderNotInstalledError("install its SDK")
        return load(name)

    monkeypatch.setattr(registry, "names", lambda: ["broken", "memory"])
    monkeypatch.setattr(registry, "provider_class", provider_class)
    broken, memory = json.loads(cli("providers", "--json").stdout)["providers"]
    assert broken == {"name": "broken", "roles": "-", "summary": "cannot be loaded: install its SDK"}
    assert memory["roles"] == "source and target"
    assert "cannot be loaded" in cli("providers", "list").stdout


def test_show_gives_every_setting_with_its_meaning(cli):
    settings = json.loads(cli("providers", "show", "memory", "--json").stdout)["settings"]
    by_name = {row["name"]: row for row in settings}
    assert by_name["store"]["default"] == "default"
    assert set(by_name["document_id"]) == {"name", "type", "default", "meaning"}
    assert "document_id" in cli("providers", "show", "memory").stdout


def test_show_of_an_unknown_provider_names_those_there_are(cli):
    answer = cli("providers", "show", "nothing")
    assert answer.exit_code == 2
    assert "memory" in answer.stderr


@pytest.mark.parametrize(
    ("words", "role"), [((), None), (("--as", "source"), Role.SOURCE), (("--as", "target"), Role.TARGET)]
)
def test_check_opens_the_connection_as_asked(cli, verbs, words, role):
    calls = verbs(check=BackendInfo("ready", warnings=("slow",), details={"rows": "3"}))
    answer = cli("providers", "check", "old", *words, "--json")
    assert json.loads(answer.stdout) == {
        "connection": "old",
        "summary": "ready",
        "warnings": ["slow"],
        "details": {"rows": "3"},
        "evidence": None,
    }
    assert calls[0][2]["role"] is role


def test_check_says_what_it_found(cli, verbs):
    verbs(check=BackendInfo("ready"))
    assert cli("providers", "check", "old").stdout == "old: ok. ready\n"
