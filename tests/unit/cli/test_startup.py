import subprocess
import sys

import pytest

# Measured on CPython 3.11: each of these costs 40 to 2,600 ms, and help needs none of them.
HEAVY = (
    "msgspec",
    "httpx",
    "aiohttp",
    "asyncio",
    "sqlite3",
    "starlette",
    "uvicorn",
    "mem0",
    "maximem_synap",
    "memxfer_mem0",
    "memxfer_synap",
    "memxfer_archive",
    "memxfer_memory",
    "memxfer.migration",
    "memxfer.engine",
    "memxfer.ledger",
    "memxfer.models",
    "memxfer.spi",
    "memxfer.config",
    "memxfer.registry",
    "memxfer.report",
)
PROGRAM = """
import sys
from memxfer.cli import main
sys.argv = ["memxfer", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


# Typer itself loads pydantic as soon as a command has options.
@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], (*HEAVY, "pydantic")),
        (["--version"], (*HEAVY, "pydantic")),
        (["migrate", "--help"], HEAVY),
        (["jobs", "--help"], HEAVY),
    ],
)
def test_help_loads_nothing_that_a_command_needs(arguments, heavy):
    program = PROGRAM.format(arguments=arguments, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
