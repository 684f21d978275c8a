import sys
from importlib.metadata import EntryPoint

import pytest

from memxfer import registry
from memxfer.errors import (
    ConfigError,
    DuplicateProviderError,
    ProviderNotInstalledError,
    UnknownProviderError,
)
from memxfer_memory import MemoryReferenceProvider


class Own(MemoryReferenceProvider):
    name = "own"


class Other(MemoryReferenceProvider):
    name = "own"


class Pretender(MemoryReferenceProvider):
    name = "memory"


@pytest.fixture(autouse=True)
def tidy():
    yield
    registry.unregister("own")


@pytest.fixture
def installed(monkeypatch):
    """Replace what is installed: `installed(name="module:Class", ...)`; a name may come twice."""

    def put(*points):
        made = [EntryPoint(name, value, registry.GROUP) for name, value in points]
        monkeypatch.setattr(registry, "entry_points", lambda group: made)

    return put


def test_the_built_in_providers_are_known():
    assert {"archive", "mem0-oss", "memory", "synap"} <= set(registry.names())
    assert registry.provider_class("memory") is MemoryReferenceProvider


def test_an_app_registers_its_own_and_takes_it_back():
    assert registry.register(Own) is Own
    assert registry.register(Own) is Own
    assert registry.provider_class("own") is Own
    assert "own" in registry.names()
    registry.unregister("own")
    registry.unregister("own")
    with pytest.raises(UnknownProviderError, match=r"'own'.*memory"):
        registry.provider_class("own")


@pytest.mark.parametrize("second", [Other, Pretender])
def test_no_name_is_taken_twice(second):
    registry.register(Own)
    with pytest.raises(DuplicateProviderError, match=second.name):
        registry.register(second)
    assert registry.provider_class("own") is Own


def test_two_distributions_with_one_name_are_both_named(installed):
    installed(("p", "first:A"), ("p", "second:B"))
    with pytest.raises(DuplicateProviderError, match="first:A and second:B"):
        registry.names()


def test_one_provider_installed_twice_is_one(installed):
    point = ("p", "memxfer_memory:MemoryReferenceProvider")
    installed(point, point)
    assert registry.names() == ["p"]
    assert registry.provider_class("p") is MemoryReferenceProvider


def test_without_any_provider_the_message_says_so(installed):
    installed()
    with pytest.raises(UnknownProviderError, match="none"):
        registry.provider_class("memory")


def test_a_class_can_be_named_by_its_module():
    assert registry.provider_class("memxfer_memory:MemoryReferenceProvider") is MemoryReferenceProvider
    assert registry.provider_class("memxfer_memory.provider:MemoryReferenceProvider")


@pytest.mark.parametrize(
    "name",
    [
        "memxfer_memory:Nothing",
        "memxfer_memory:MemoryStore",
        "memxfer_memory:__all__",
        "no_such_module:X",
        "no.such.module:X",
        ":X",
        "a b:X",
        "memxfer_memory:",
        "a:b:c",
        "::",
    ],
)
def test_a_name_that_leads_to_no_provider_is_a_config_error(name):
    with pytest.raises(ConfigError) as caught:
        registry.provider_class(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("import package_that_is_missing", ProviderNotInstalledError, "package_that_is_missing"),
        ("import mx_pro", ProviderNotInstalledError, "mx_pro"),  # a prefix of the module's own name
        ("from memxfer import nothing_of_the_kind", ConfigError, "mx_provider_1"),
        ("this is no Python", ConfigError, "mx_provider_1"),
    ],
)
def test_a_module_that_does_not_import_says_what_is_missing(tmp_path, monkeypatch, source, kind, told):
    (tmp_path / "mx_provider_1.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mx_provider_1", raising=False)
    with pytest.raises(kind, match=told) as caught:
        registry.provider_class("mx_provider_1:X")
    assert (kind is ConfigError) != isinstance(caught.value, ProviderNotInstalledError)
