import json
import stat
from typing import ClassVar

import pytest

from memxfer import migration
from memxfer.capabilities import ClientKey, Evidence
from memxfer.config import Config, Connection
from memxfer.errors import ConfigError
from memxfer.migration import Claim, ClaimVerdict, ConnectionEvidence
from memxfer.migration.endpoints import open_end
from memxfer.migration.evidence import evidence_file, load_evidence, save_evidence
from memxfer.spi import Role, SupportsLookup
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class Told(MemoryReferenceProvider):
    """A provider whose policy is a setting of the user's."""

    claim_settings: ClassVar[dict] = {"writing.client_key": "client_key"}


def claim(path="writing.client_key", declared="unknown", found="append", **more):
    return Claim(path=path, declared=declared, found=found, verdict=ClaimVerdict.DOWNGRADED, **more)


def evidence(*claims, connection="new", namespace="to", **more):
    fields = {"provider": "memory", "probed_at": "2026-11-21T10:00:00Z", "memxfer": "0.1.0", **more}
    return ConnectionEvidence(connection=connection, namespace=namespace, claims=claims, **fields)


def config(**settings):
    settings = {"client_key": "unknown", "store": "to", **settings}
    return Config({"new": Connection("new", "memory", settings, "memxfer.toml")})


async def opened(state, notes, *, role=Role.TARGET, endpoint="new", **settings):
    """Open the end, and return its capabilities and whether it can be looked up."""
    async with open_end(endpoint, role, config=config(**settings), state_dir=state, observer=notes) as end:
        return end.provider.capabilities(), isinstance(end.provider, SupportsLookup)


# -- the file ---------------------------------------------------------------------------------


def test_what_is_kept_is_read_again(state):
    kept = evidence(claim(note="the first copy was still there"), sdk="maximem-synap 0.6.9")
    file = save_evidence(state, kept)
    assert file == state / "connections" / "new.json"
    assert load_evidence(state, "new") == kept
    assert load_evidence(state, "old") is None


def test_only_this_user_may_read_it(state):
    file = save_evidence(state, evidence())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (state, file.parent)} == {0o700}
    assert [other.name for other in file.parent.iterdir()] == ["new.json"]


def test_newer_evidence_replaces_older(state):
    save_evidence(state, evidence(claim()))
    save_evidence(state, evidence(claim(found="upsert")))
    assert [one.found for one in load_evidence(state, "new").claims] == ["upsert"]


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "naïve", "x" * 60])
def test_no_name_of_a_connection_leads_out_of_the_folder(state, name):
    save_evidence(state, evidence(connection=name))
    assert load_evidence(state, name).connection == name
    assert evidence_file(state, name).resolve().parent == (state / "connections").resolve()


def test_on_a_disk_that_ignores_case_another_connections_evidence_is_not_this_ones(state):
    save_evidence(state, evidence(connection="New"))
    evidence_file(state, "New").rename(evidence_file(state, "new"))
    assert load_evidence(state, "new") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged at connection"),
        ('{"format": 2}', "later memxfer"),
        ("x" * (2**20 + 1), "too large"),
    ],
)
async def test_damaged_evidence_is_an_error_that_names_the_file(state, notes, text, what):
    file = save_evidence(state, evidence())
    file.write_text(text)
    with pytest.raises(ConfigError, match=what) as raised:
        await opened(state, notes)
    assert str(file) in str(raised.value)
    assert "--probe" in str(raised.value)


def test_evidence_that_means_nothing_is_damaged(state):
    data = json.loads(evidence(claim()).model_dump_json())
    data["claims"][0]["found"] = "sometimes"
    file = save_evidence(state, evidence())
    file.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="damaged"):
        load_evidence(state, "new")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        save_evidence(tmp_path / "file", evidence())


# -- what it changes --------------------------------------------------------------------------


async def test_evidence_is_gone_by_and_said(state, notes):
    save_evidence(state, evidence(claim()))
    known, _ = await opened(state, notes)
    assert known.writing.client_key is ClientKey.APPEND
    assert known.evidence == {"writing.client_key": Evidence.PROBED}
    assert notes.notices == [
        ("info", "new: going by the probe of 2026-11-21: writing.client_key is append, declared unknown")
    ]


async def test_a_confirmed_claim_is_marked_and_nothing_is_said(state, notes):
    save_evidence(state, evidence(claim(declared="append")))
    known, _ = await opened(state, notes, client_key="append")
    assert known.evidence == {"writing.client_key": Evidence.PROBED}
    assert notes.notices == []


async def test_without_evidence_nothing_changes(state, notes):
    known, can_look_up = await opened(state, notes)
    assert (known.writing.client_key, known.evidence, can_look_up) == (ClientKey.UNKNOWN, {}, True)
    assert not state.exists()


async def test_a_look_up_that_did_not_work_is_not_used(state, notes):
    save_evidence(state, evidence(claim("operations.lookup", "yes", "no", note="it misses documents")))
    _, can_look_up = await opened(state, notes)
    assert not can_look_up
    assert notes.notices == [
        ("info", "new: going by the probe of 2026-11-21: operations.lookup is no, declared yes")
    ]


@pytest.mark.parametrize("told", [Role.TARGET, Role.SOURCE])
async def test_evidence_of_another_store_is_not_gone_by(state, notes, told):
    save_evidence(state, evidence(claim(), namespace="elsewhere"))
    known, _ = await opened(state, notes, role=told)
    assert known.writing.client_key is ClientKey.UNKNOWN
    warnings = [text for level, text in notes.notices if level == "warning"]
    assert ["another store" in text for text in warnings] == ([True] if told is Role.TARGET else [])


async def test_a_location_and_a_provider_object_have_no_evidence(state, notes, ends):
    save_evidence(state, evidence(claim(), connection="memory:to"))
    save_evidence(state, evidence(claim(), connection="memory", namespace=ends.target.name))
    for endpoint in ("memory:to", ends.write(client_key="unknown")):
        async with open_end(endpoint, Role.TARGET, config=config(), state_dir=state, observer=notes) as end:
            assert end.provider.capabilities().evidence == {}
    assert migration.evidence_of("memory:to", config=config(), state_dir=state) is None


@pytest.mark.parametrize(
    ("setting", "found", "used"),
    [("upsert", "append", "append"), ("append", "upsert", "append"), ("dedupe", "reject", "reject")],
)
async def test_a_setting_of_the_users_never_makes_it_less_careful(
    state, notes, monkeypatch, setting, found, used
):
    monkeypatch.setattr("memxfer.registry.provider_class", lambda _: Told)
    save_evidence(state, evidence(claim(declared=setting, found=found)))
    known, _ = await opened(state, notes, client_key=setting)
    assert known.writing.client_key == used
    told = (
        f'new: client_key = "{setting}" is set, but the probe of 2026-11-21 saw {found}; {found} is gone by, '
        f'the more careful of the two. Set client_key = "{found}", or probe again'
    )
    assert notes.notices == ([] if used == setting else [("warning", told)])


async def test_check_and_diff_go_by_it(state, notes, ends):
    ends.seed(1)
    save_evidence(state, evidence(claim("dimensions.kind.write", "native", "none", note="it was gone")))
    await migration.check("new", config=config(), role=Role.TARGET, state_dir=state, observer=notes)
    assert "dimensions.kind.write is none" in notes.notices[0][1]
    source = ends.read()
    source.data.seed([])
    report = await migration.diff(source, "new", config=config(), state_dir=state)
    [kind] = [line for line in report.dimensions if line.dimension == "kind"]
    assert kind.target == "none"
