"""A suite that passes everything proves nothing: each liar has to fail the test that is about its lie."""

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from memxfer.testing import ProviderConformance

LIARS = Path(__file__).with_name("liars.py")
# Tests that no liar over an in-process store can fail: they need a backend with keys, or one role.
UNREACHED = {
    "test_has_a_role",
    "test_refused_key_is_an_auth_error",
    "test_silent_backend_is_unavailable",
    "test_role_that_is_not_there_is_refused",
}


def lies():
    spec = importlib.util.spec_from_file_location("liars", LIARS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [item for name, item in inspect.getmembers(module, inspect.isclass) if name.startswith("Test")]
    return {item.__name__: item.caught_by for item in classes}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    report = tmp_path_factory.mktemp("liars") / "report.xml"
    nodes = [f"{LIARS}::{liar}::{test}" for liar, test in lies().items()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *nodes]
    subprocess.run(command, capture_output=True, check=False, cwd=LIARS.parents[3])
    return {
        case.get("classname").rpartition(".")[2]: [element.tag for element in case]
        for case in ElementTree.parse(report).iter("testcase")
    }


@pytest.mark.parametrize("liar", lies())
def test_lie_is_caught(outcomes, liar):
    assert outcomes[liar] == ["failure"]


def test_every_standard_test_has_a_liar():
    tested = {name.partition("[")[0] for name in lies().values()}
    standard = {name for name in dir(ProviderConformance) if name.startswith("test_")}
    assert standard - tested == UNREACHED
