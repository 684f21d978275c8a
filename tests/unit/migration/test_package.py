import importlib
import subprocess
import sys

import pytest

import memxfer
from memxfer import migration

NAMES = [
    "Config",
    "JobResult",
    "JobStatus",
    "MemoryClient",
    "MemoryRecord",
    "MemxferError",
    "Options",
    "ProbeReport",
    "Scope",
    "StopSignal",
    "SwappableClient",
    "SyncMemoryClient",
    "__version__",
    "capability_gaps",
    "check",
    "diff",
    "failures",
    "list_jobs",
    "load_config",
    "migrate",
    "plan",
    "probe",
    "register",
    "resume",
    "status",
]
MODULES = [
    "memxfer.capabilities",
    "memxfer.client",
    "memxfer.config",
    "memxfer.errors",
    "memxfer.gaps",
    "memxfer.ids",
    "memxfer.migration",
    "memxfer.models",
    "memxfer.plan",
    "memxfer.registry",
    "memxfer.secrets",
    "memxfer.spi",
]


def test_the_names_of_the_package_are_these():
    assert memxfer.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_package_is_what_its_home_calls_so(name):
    value = getattr(memxfer, name)

    if name == "plan":
        return  # the package of that name, which is the verb when called
    assert name == "__version__" or value.__name__ == name
    assert name not in migration.__all__ or value is getattr(migration, name)


@pytest.mark.parametrize(
    "before",
    ["import memxfer", "from memxfer.plan import JobPlan", "import memxfer.plan", "from memxfer import plan"],
)
def test_plan_is_the_verb_whatever_was_imported_before(before):
    code = (
        f"{before}\nimport asyncio, memxfer\nfrom memxfer.plan import JobPlan\n"
        "try: asyncio.run(memxfer.plan('nowhere', 'nowhere'))\n"
        "except memxfer.MemxferError as error: print(type(error).__name__, JobPlan.__name__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.stdout == "UnknownConnectionError JobPlan\n", told.stderr


def test_a_name_nobody_exports_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'memxfer' has no attribute 'colour'"):
        _ = memxfer.colour


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists(name):
    module = importlib.import_module(name)

    assert [missing for missing in module.__all__ if not hasattr(module, missing)] == []
    assert len(module.__all__) == len(set(module.__all__))


def test_importing_the_package_costs_nothing():
    heavy = "pydantic msgspec httpx aiohttp rich typer sqlite3 asyncio"
    code = (
        f"import sys, memxfer;print([m for m in '{heavy}'.split() if m in sys.modules], len(memxfer.__all__))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == f"[] {len(NAMES)}"


def test_the_verbs_load_no_vendors_sdk_and_no_command_line():
    code = (
        "import sys, memxfer; memxfer.migrate; memxfer.load_config;"
        "print([m for m in ('mem0', 'maximem_synap', 'typer', 'rich', 'memxfer_mem0') if m in sys.modules])"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
