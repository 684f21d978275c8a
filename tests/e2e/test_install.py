"""`make install` on a machine that has never seen the project, whatever has been published since the lock.

The Makefile itself is run, on a made-up project with a made-up lock, against an index in a folder that offers
newer wheels than those locked. The environment gets the pip that this Python bundles. 23.2.1, which Python
3.11.7 and 3.12.1 bundle, is the oldest one supported; under a newer one the tests run with that.
"""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.timeout(300)  # a new environment takes seconds, on a busy machine a minute

ROOT = Path(__file__).parents[2]
OLDEST_PIP = Version("23.2.1")
BUNDLED_PIP = Version(ensurepip.version())
BACKEND = """
import base64, hashlib, pathlib, zipfile

INFO = "madeup_app-0.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: madeup-app\\nVersion: 0\\nRequires-Dist: madeup-plugin\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: madeup\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"


def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "madeup_app-0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("madeup_app.pth", str(pathlib.Path.cwd()) + "\\n")
        wheel.writestr(INFO + "/METADATA", METADATA)
        wheel.writestr(INFO + "/WHEEL", WHEEL)
        wheel.writestr(INFO + "/RECORD", "")
    return name
"""


def wheel(folder, name, version, *, requires=(), extras=(), build="", source=""):
    """Write a wheel with one module; return its requirement with its hash, as a lock has it."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    head += [f"Provides-Extra: {extra}" for extra in extras]
    head += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {
        f"{module}.py": source or f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(head) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: madeup\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},{_digest(text)},{len(text)}" for path, text in files.items()]
    path = folder / f"{module}-{version}{build}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        for name_in, text in {**files, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"])}.items():
            out.writestr(name_in, text)
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _digest(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Machine:
    """A checkout of a made-up project, and everything that was ever published."""

    def __init__(self, folder):
        self.folder = folder / "checkout"
        self.index = folder / "published"
        self.folder.mkdir()
        self.index.mkdir()

    def publish(self):
        lock = [
            wheel(self.index, "madeup-backend", "1.0", source=BACKEND),
            wheel(
                self.index,
                "madeup-cov",
                "7.6",
                extras=["toml"],
                requires=['madeup-toml; extra == "toml"'],
            ),
            wheel(self.index, "madeup-plugin", "1.0", requires=["madeup-cov[toml]>=7"]),
            wheel(self.index, "madeup-toml", "2.0"),
        ]
        (self.folder / "requirements.lock").write_text("".join(lock))
        (self.folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["madeup-backend"]\nbuild-backend = "madeup_backend"\n'
            '[project]\nname = "madeup-app"\nversion = "0"\ndependencies = ["madeup-plugin"]\n'
        )

    def publish_newer(self):
        """What appears on an index the day after: newer versions, and one more file of a locked version."""
        wheel(self.index, "madeup-cov", "7.7", extras=["toml"], requires=['madeup-toml>=3; extra == "toml"'])
        wheel(self.index, "madeup-cov", "7.6", extras=["toml"], build="-1", source="VERSION = 'other'\n")
        wheel(self.index, "madeup-plugin", "1.1", requires=["madeup-cov[toml]>=7.7"])
        wheel(self.index, "madeup-toml", "3.0")
        wheel(self.index, "madeup-backend", "2.0", source="raise SystemExit('not the locked one')\n")

    def write_index(self):
        """Write the pages of a simple index: as on a real one, each link has the hash of its file."""
        for path in sorted(self.index.glob("*.whl")):
            name = path.name.partition("-")[0].replace("_", "-")
            page = self.index / "simple" / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            with page.open("a") as out:
                out.write(f'<a href="{path.as_uri()}#sha256={digest}">{path.name}</a>\n')

    def run(self, *command):
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHON", "VENV"))
        }
        pip = {"PIP_INDEX_URL": (self.index / "simple").as_uri(), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, **pip, "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )

    @property
    def python(self):
        return self.folder / ".venv/bin/python"

    def installed(self):
        listed = self.run(self.python, "-m", "pip", "list", "--format=freeze").stdout
        return {name: version for name, _, version in (line.partition("==") for line in listed.split())}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A fresh machine on which `make install` was run, with newer wheels published than those locked."""
    if shutil.which("make") is None:
        pytest.skip("the Makefile is what is tested")
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.publish()
    made.publish_newer()
    made.write_index()
    base = getattr(sys, "_base_executable", sys.executable)  # the tests' own environment stays out of it
    made.made = made.run("make", "-f", str(ROOT / "Makefile"), "install", f"PYTHON={base}")
    return made


def test_the_lock_is_installed_as_it_is_although_newer_wheels_are_offered(machine):
    assert machine.made.returncode == 0, machine.made.stdout
    installed = machine.installed()
    assert Version(installed["pip"]) == BUNDLED_PIP
    assert {name: version for name, version in installed.items() if name.startswith("madeup")} == {
        "madeup-app": "0",
        "madeup-backend": "1.0",
        "madeup-cov": "7.6",
        "madeup-plugin": "1.0",
        "madeup-toml": "2.0",
    }
    said = machine.run(machine.python, "-c", "import madeup_cov; print(madeup_cov.VERSION)").stdout
    assert said == "7.6\n", "the file whose hash is locked"
    assert "No broken requirements found" in machine.made.stdout


@pytest.mark.skipif(BUNDLED_PIP != OLDEST_PIP, reason=f"this Python bundles pip {BUNDLED_PIP}")
def test_the_oldest_pip_supported_would_resolve_the_lock_anew_and_fail(machine):
    """Shows that the machine above has the fault: without `--no-deps`, the extra leads to the newer wheel."""
    lock = ("--require-hashes", "-r", "requirements.lock")
    resolved = machine.run(machine.python, "-m", "pip", "install", "--dry-run", "--ignore-installed", *lock)
    assert resolved.returncode != 0
    assert "madeup-cov" in resolved.stdout


# -- the real lock --------------------------------------------------------------------------------


def _locked():
    """Names and versions of the lock that apply to this environment."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    requirements = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return {
        canonicalize_name(one.name): one
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def _missing(requirement, locked, extras):
    """Return what is wrong with one dependency under a lock; nothing if it does not apply here."""
    if requirement.marker and not any(
        requirement.marker.evaluate({"extra": extra}) for extra in (*extras, "")
    ):
        return None
    found = locked.get(canonicalize_name(requirement.name))
    if found is None:
        return f"{requirement} is not locked"
    (version,) = (str(one.version) for one in found.specifier)
    fits = requirement.specifier.contains(version, prereleases=True)
    return None if fits else f"{requirement}: {version} is locked"


def test_the_lock_is_complete_with_every_dependency_of_its_packages_and_the_build_backend():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = _locked()
    wanted = {name: set() for name in locked}  # the extras that somebody asks of a package
    asked = [
        *map(Requirement, project["build-system"]["requires"]),
        *map(Requirement, project["project"]["dependencies"]),
        *(
            Requirement(one)
            for group in project["project"]["optional-dependencies"].values()
            for one in group
        ),
    ]
    asked = [one for one in asked if canonicalize_name(one.name) != "memxfer"]
    edges = [("memxfer", one) for one in asked]
    for name in locked:
        edges += [(name, Requirement(text)) for text in metadata.distribution(name).requires or ()]
    while True:  # an extra that is asked of a package may ask an extra of another
        before = sum(map(len, wanted.values()))
        for owner, one in edges:
            name = canonicalize_name(one.name)
            if name in wanted and _missing(one, {}, wanted.get(owner, ())) is not None:
                wanted[name] |= one.extras
        if sum(map(len, wanted.values())) == before:
            break
    problems = {(owner, _missing(one, locked, wanted.get(owner, ()))) for owner, one in edges}
    assert {(owner, problem) for owner, problem in problems if problem} == set()


def test_the_lock_pins_one_version_of_each_package_with_hashes_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
    blocks = [block for block in text.split("\n") if block[:1].isalnum()]
    assert all("==" in block and block.endswith("\\") for block in blocks)
    assert text.count("--hash=sha256:") >= len(blocks)
