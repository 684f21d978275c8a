"""Entry points and class paths that are nearly right."""

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from memxfer import registry
from memxfer.errors import ConfigError, ProviderNotInstalledError
from memxfer_memory import MemoryReferenceProvider


@pytest.fixture
def installed(monkeypatch):
    def put(*points):
        found = EntryPoints(EntryPoint(name, value, registry.GROUP) for name, value in points)
        monkeypatch.setattr(registry, "entry_points", lambda *, group: found.select(group=group))

    return put


@pytest.mark.parametrize("name", ["archive", "mem0-oss", "memory", "synap"])
def test_a_built_in_provider_loads_and_calls_itself_so(name):
    assert registry.provider_class(name).name == name


def test_a_class_within_a_class_is_found(tmp_path, monkeypatch):
    text = "from memxfer_memory import MemoryReferenceProvider\nclass Box:\n    P = MemoryReferenceProvider\n"
    (tmp_path / "mx_outer.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    try:
        assert registry.provider_class("mx_outer:Box.P") is MemoryReferenceProvider
    finally:
        del sys.modules["mx_outer"]


@pytest.mark.parametrize("name", [".mod:X", "a..b:C", "a:B-c", "mod:X[extra]", ":", "1a:B"])
def test_what_is_no_path_to_a_class_is_refused_with_the_form(name):
    with pytest.raises(ConfigError, match="name a class as my_module:MyProvider"):
        registry.provider_class(name)


@pytest.mark.parametrize(
    ("value", "told"), [("no_such_module_here:X", "no module 'no_such_module"), ("json", "json has no")]
)
def test_an_entry_point_that_leads_nowhere_names_the_provider(installed, value, told):
    installed(("ghost", value))

    with pytest.raises(ConfigError, match=f"provider 'ghost': {told}") as caught:
        registry.provider_class("ghost")
    assert not isinstance(caught.value, ProviderNotInstalledError)
