"""The demo as a newcomer runs it: embedded Mem0, the real Synap SDK, a real SIGKILL."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("mem0")
pytest.importorskip("maximem_synap")


def test_the_demo_ends_with_everything_matched(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    kept = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, "-m", "memxfer.cli", "demo", "--records", "400", "--keep", str(kept), "--json"],
        env={**os.environ, "HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["clean"] is True
    assert outcome["records"] == outcome["stored"] == outcome["stored_right"] == 400
    assert outcome["round_trip_right"] == 400
    assert 0 < outcome["stored_when_killed"] <= 400
    assert "Everything matched." in done.stderr
    assert list(home.iterdir()) == []  # nothing outside the folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kept"]
