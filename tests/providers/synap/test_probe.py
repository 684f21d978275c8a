"""Probes of a Synap that knows its own policy, and of one that misbehaves; over both transports."""

import pytest

from memxfer import migration
from memxfer.config import Config, Connection
from memxfer.emulation import FaultPlan, FaultRule
from memxfer.migration import ClaimVerdict, Options
from memxfer.migration.endpoints import open_end
from memxfer.spi import Role, Scope
from memxfer_memory import MemoryStore
from memxfer_synap.emulator import EMULATOR_API_KEY

pytestmark = pytest.mark.anyio

POLICIES = {
    "update": "upsert",
    "row_error": "reject",
    "conflict": "reject",
    "echo": "dedupe",
    "store_twice": "append",
}


class Told:
    def __init__(self):
        self.notices = []

    def progress(self, progress):
        pass

    def notice(self, level, text):
        self.notices.append((level, text))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def source(record):
    """Give a store of three memories, `memory:before-synap`."""
    MemoryStore.named("before-synap").seed([record(n) for n in (1, 2, 3)])
    yield "memory:before-synap"
    MemoryStore.forget("before-synap")


@pytest.fixture
def config(synap):
    """Give a configuration whose connection `new` is the emulator."""

    def make(**settings):
        block = {
            "api_key": EMULATOR_API_KEY,
            "base_url": synap.url,
            "transport": synap.transport,
            "customer_id": "acme",
            "retry": {"attempts": 2, "backoff": 0.001},
            **settings,
        }
        return Config({"new": Connection("new", "synap", block, "memxfer.toml")})

    return make


def client_key(report):
    return next(claim for claim in report.claims if claim.path == "writing.client_key")


def memories_left(synap):
    return [one["document_id"] for one in synap.truth() if one["memories"]]


@pytest.mark.parametrize("policy", POLICIES)
async def test_the_policy_is_found_and_nothing_is_left(synap, policy, told):
    synap.configure(duplicate_policy=policy, processing_delay_seconds=0.02)
    report = await migration.probe(synap.provider(), observer=told)
    claim = client_key(report)
    assert (claim.declared, claim.found) == ("unknown", POLICIES[policy])
    assert claim.verdict is (ClaimVerdict.DOWNGRADED if policy == "store_twice" else ClaimVerdict.CONFIRMED)
    assert (report.status, report.documents, report.leftovers) == ("completed", 4, ())
    assert memories_left(synap) == []
    assert [level for level, _ in told.notices if level == "warning"] == []
    assert report.sdk == ("maximem-synap 0.6.9" if synap.transport == "sdk" else None)


async def test_the_other_promises_are_kept(synap):
    report = await migration.probe(synap.provider())
    found = {claim.path: claim.found for claim in report.claims if claim.found}
    assert found == {
        "writing.client_key": "upsert",
        "writing.acknowledges": "async",
        "writing.reports_ids": "true",
        "writing.rollback": "id",
        "operations.delete": "yes",
        "read_time.levels": "isolated",
    }
    untested = [c for c in report.claims if c.path.startswith("dimensions.")]
    assert {claim.verdict for claim in untested} == {ClaimVerdict.NOT_TESTABLE}


async def test_a_connection_of_transcripts_is_probed_by_its_documents(synap):
    report = await migration.probe(synap.provider(conversations="transcript"))
    assert (client_key(report).found, report.status, report.leftovers) == ("upsert", "completed", ())
    assert memories_left(synap) == []


async def test_what_was_there_is_left_alone(synap, record):
    provider = await synap.connected()
    await provider.write([provider.prepare(record(1), "mx:1", {})])
    before = synap.truth()
    await migration.probe(synap.provider())
    assert [one for one in synap.truth() if one["document_id"] == "mx:1"] == before


async def test_everything_belongs_to_a_user_of_its_own(synap):
    report = await migration.probe(synap.provider())
    documents = {one["scope"]["level"]: one for one in synap.truth()}
    assert documents["user"]["scope"]["user_id"] == report.owner
    assert documents["customer"]["scope"]["customer_id"] == f"{report.owner}-tenant"
    assert documents.keys() == {"user", "customer"}
    assert all("safe to delete" in one["document"]["document"].lower() for one in documents.values())


async def test_an_instance_without_customers_is_probed_as_well(synap):
    synap.configure(isolation="equals_customer")
    report = await migration.probe(synap.provider(customer_id=None))
    assert client_key(report).found == "upsert"


async def test_an_instance_that_needs_a_customer_gets_one_of_the_probes_own(synap):
    report = await migration.probe(synap.provider(customer_id=None))
    assert {one["document"]["customer_id"] for one in synap.truth()} == {f"{report.owner}-tenant"}


# -- levels -------------------------------------------------------------------------------------


def levels(report):
    return next(claim for claim in report.claims if claim.path == "read_time.levels")


@pytest.mark.parametrize("found", ["merged", "isolated"])
async def test_which_levels_a_question_reads_is_found_and_gone_by(synap, config, state, told, found):
    synap.configure(fetch_levels=found, processing_delay_seconds=0.02)
    report = await migration.probe("new", config=config(), state_dir=state, observer=told)
    claim = levels(report)
    assert (claim.declared, claim.found, claim.verdict) == ("unknown", found, ClaimVerdict.CONFIRMED)
    assert (report.leftovers, memories_left(synap)) == ((), [])
    async with open_end("new", Role.TARGET, config=config(), state_dir=state, observer=told) as end:
        assert end.provider.capabilities().read_time.levels == found
        asked = len(synap.calls())
        await end.provider.search("tea", scope=Scope(user="ann"), limit=3)
        assert len(synap.calls()) - asked == (1 if found == "merged" else 3)


@pytest.mark.parametrize(
    ("declared", "real", "used", "warns"),
    [
        ("merged", "isolated", "isolated", True),
        ("isolated", "merged", "isolated", False),
        ("merged", "merged", "merged", False),
    ],
)
async def test_levels_that_the_user_set_give_way_to_asking_each(
    synap, config, state, told, declared, real, used, warns
):
    synap.configure(fetch_levels=real)
    trusting = config(fetch_levels=declared)
    report = await migration.probe("new", config=trusting, state_dir=state, observer=told)
    assert levels(report).found == real
    async with open_end("new", Role.TARGET, config=trusting, state_dir=state, observer=told) as end:
        assert end.provider.capabilities().read_time.levels == used
    loud = [text for level, text in told.notices if level == "warning" and "fetch_levels" in text]
    assert bool(loud) == warns


async def test_levels_cannot_be_told_where_the_wider_one_is_everybody_s_or_finds_nothing(synap, monkeypatch):
    monkeypatch.setattr("memxfer.migration.probing.levels._PAUSES", (0.0,))
    synap.configure(isolation="equals_customer")
    report = await migration.probe(synap.provider(customer_id=None))
    assert (levels(report).found, levels(report).verdict) == (None, ClaimVerdict.NOT_TESTABLE)
    assert [one["scope"]["level"] for one in synap.truth()] == ["user"]
    synap.configure()
    synap.break_with("/v1/context/customer/fetch", status=503)
    report = await migration.probe(synap.provider(retry={"attempts": 1, "backoff": 0.001}))
    assert (levels(report).found, client_key(report).found) == (None, "upsert")
    assert (report.status, report.leftovers) == ("completed", ())


async def test_a_document_of_which_nothing_is_kept_tells_no_policy(synap):
    empty = {"status": "completed", "memory_ids": []}
    synap.break_with("/api/v1/memories/status", status=200, body=empty)
    report = await migration.probe(synap.provider())
    claim = client_key(report)
    assert (claim.found, claim.verdict) == (None, ClaimVerdict.NOT_TESTABLE)
    assert "nothing tells what became of the first" in claim.note


# -- what a run makes of it -------------------------------------------------------------------


async def run_into_a_lost_answer(synap, config, source, state, told):
    """Probe, then move three records into a Synap that stores the batch and loses its answer."""
    await migration.probe("new", config=config, state_dir=state, observer=told)
    synap.emulator.store.clear()
    synap.break_with(match={"nth": 1}, when="after", close="reset")
    options = Options(accept_loss=("all",))
    return await migration.migrate(
        source, "new", config=config, state_dir=state, job="job", options=options, observer=told
    )


async def test_documents_in_doubt_are_not_sent_again_to_a_synap_that_stores_twice(
    synap, config, source, state, told
):
    synap.configure(duplicate_policy="store_twice")
    result = await run_into_a_lost_answer(synap, config(), source, state, told)
    assert (result.status, result.cause) == ("incomplete", "uncertain")
    assert synap.batches_sent() == 1
    assert set(synap.stored().values()) == {1}
    result = await migration.resume("job", config=config(), state_dir=state, observer=told)
    assert result.cause == "uncertain"
    assert synap.batches_sent() == 1
    options = Options(on_uncertain="skip")
    result = await migration.resume("job", config=config(), state_dir=state, options=options)
    assert result.counts.uncertain == 3
    assert set(synap.stored().values()) == {1}


async def test_without_evidence_they_are_sent_again_and_stored_twice(synap, config, source, state):
    """What the evidence is worth: the same move without it."""
    synap.configure(duplicate_policy="store_twice")
    synap.break_with(match={"nth": 1}, when="after", close="reset")
    options = Options(accept_loss=("all",))
    await migration.migrate(source, "new", config=config(), state_dir=state, options=options)
    assert set(synap.stored().values()) == {2}


async def test_documents_in_doubt_are_sent_again_to_a_synap_that_updates(synap, config, source, state, told):
    synap.configure(duplicate_policy="update")
    result = await run_into_a_lost_answer(synap, config(), source, state, told)
    assert (result.status, result.counts.stored, result.resent) == ("completed", 3, 3)
    assert set(synap.stored().values()) == {1}


async def test_a_policy_that_the_user_set_gives_way_to_a_more_careful_one(synap, config, source, state, told):
    synap.configure(duplicate_policy="store_twice")
    trusting = config(duplicate_policy="upsert")
    result = await run_into_a_lost_answer(synap, trusting, source, state, told)
    assert result.cause == "uncertain"
    assert set(synap.stored().values()) == {1}
    loud = [text for level, text in told.notices if level == "warning" and "duplicate_policy" in text]
    assert len(loud) == 2  # after the probe, and again when the move opened the connection
    assert 'duplicate_policy = "upsert" is set' in loud[0]
    assert 'Set duplicate_policy = "append"' in loud[1]


async def test_a_policy_that_the_user_set_more_carefully_stays(synap, config, state, told):
    synap.configure(duplicate_policy="update")
    careful = config(duplicate_policy="append")
    report = await migration.probe("new", config=careful, state_dir=state, observer=told)
    assert client_key(report).found == "upsert"
    async with open_end("new", Role.TARGET, config=careful, state_dir=state, observer=told) as end:
        assert end.provider.capabilities().writing.client_key == "append"
    assert not [text for _, text in told.notices if "duplicate_policy" in text]


async def test_the_evidence_holds_neither_key_nor_content(synap, config, state):
    report = await migration.probe("new", config=config(), state_dir=state)
    text = (state / "connections" / "new.json").read_text()
    assert EMULATOR_API_KEY not in text
    assert "jasmine" not in text
    assert synap.url not in text
    assert report.namespace in text


# -- bad weather ------------------------------------------------------------------------------


async def test_rate_limits_are_waited_for(synap, config):
    synap.break_with(
        match={"times": 2}, preset="rate_limited", retry_after="decimal", retry_after_seconds=0.01
    )
    report = await migration.probe(synap.provider(retry={"attempts": 2, "backoff": 0.001}))
    assert (report.status, client_key(report).found, report.leftovers) == ("completed", "upsert", ())


async def test_a_key_that_is_revoked_in_mid_probe_is_an_auth_error_that_names_what_is_left(synap, told):
    synap.break_with("/", match={"from_nth": 6}, preset="key_revoked")
    report = await migration.probe(synap.provider(), observer=told)
    assert (report.status, report.cause) == ("failed", "auth")
    assert len(report.leftovers) == 1
    assert memories_left(synap) == [report.leftovers[0].key]


async def test_a_refused_deletion_is_a_downgrade_and_names_the_memories(synap):
    rule = {"match": {"method": "DELETE"}, "action": {"status": 403}}
    synap.emulator.faults = FaultPlan([FaultRule.model_validate(rule)])
    report = await migration.probe(synap.provider())
    assert {left.key for left in report.leftovers} == set(memories_left(synap))
    there = {memory["memory_id"] for one in synap.truth() for memory in one["memories"]}
    assert there <= {one for left in report.leftovers for one in left.target_ids}
    lowered = {c.path for c in report.claims if c.verdict is ClaimVerdict.DOWNGRADED}
    assert lowered == {"operations.delete", "writing.rollback"}


async def test_a_lost_answer_is_a_leftover_since_nobody_can_ask_for_it(synap):
    synap.break_with(match={"nth": 1}, when="after", close="reset")
    report = await migration.probe(synap.provider())
    [left] = report.leftovers
    assert memories_left(synap) == [left.key]
    assert "may have been stored" in left.reason


async def test_memories_that_appear_while_it_cleans_up_are_removed(synap):
    synap.configure(processing_delay_seconds=0.3)
    stop = migration.StopSignal()
    provider = synap.provider()
    ask = provider.ingest_status

    async def stop_and_ask(ingestion_id):
        stop.request()
        return await ask(ingestion_id)

    provider.ingest_status = stop_and_ask
    report = await migration.probe(provider, stop=stop)
    assert (report.status, report.documents, report.leftovers) == ("interrupted", 1, ())
    assert memories_left(synap) == []
