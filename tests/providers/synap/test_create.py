"""A single document by the call for what is said just now: the receipts and the doubt of a batch of one."""

import pytest

from memxfer.spi import BatchRefusedError, IngestState, Outcome, Scope, SupportsCreate
from tests.providers.synap.test_faults import IN_DOUBT, REFUSED

pytestmark = pytest.mark.anyio

CREATE = "/api/v1/memories/create"
HANDLE = "00000000-0000-4000-8000-000000000000"


def calls(synap):
    told = synap.emulator.summary()
    return told["create_calls"], told["batch_calls"]


async def test_what_is_created_is_what_a_batch_would_store_and_no_batch_is_sent(synap, app, record):
    provider = await app()
    assert isinstance(provider, SupportsCreate)
    document = provider.prepare(record(1, metadata={"a": [1, None]}), "mx:1", {})
    receipt = await provider.create(document)
    assert calls(synap) == (1, 0)
    assert (receipt.outcome, receipt.error) == (Outcome.PENDING, None)
    assert receipt.correlation_id
    assert (await provider.ingest_status(receipt.ingestion_id)).state is IngestState.STORED
    [created] = synap.truth()
    [same] = await provider.write([provider.prepare(record(1, metadata={"a": [1, None]}), "mx:1", {})])
    assert calls(synap) == (1, 1)
    [written] = synap.truth()
    assert written["document"] == created["document"]
    assert same.outcome is Outcome.PENDING


async def test_a_batch_stays_a_batch_also_with_one_document(synap, documents):
    provider = await synap.connected()
    await provider.write(documents(provider, 1))
    assert calls(synap) == (0, 1)


async def test_every_doubt_about_a_created_document_is_told_and_it_is_sent_once(synap, app, documents):
    provider = await app()
    [document] = documents(provider, 1)
    for name, (action, times) in IN_DOUBT.items():
        synap.emulator.reset()
        synap.break_with(CREATE, **action)
        receipt = await provider.create(document)
        assert (receipt.outcome, bool(receipt.error and receipt.error.code)) == (Outcome.UNKNOWN, True), name
        assert synap.batches_sent() == 1, name
        assert synap.stored() == ({"mx:1": 1} if times else {}), name


async def test_every_refusal_of_a_created_document_is_of_the_kind_that_a_batch_gives(synap, app, documents):
    provider = await app()
    [document] = documents(provider, 1)
    for name, (action, kind, code) in REFUSED.items():
        if name == "building":  # the SDK then refuses by itself for a while, whatever is called
            continue
        synap.break_with(CREATE, **action)
        if kind is BatchRefusedError:
            receipt = await provider.create(document)
            assert (receipt.outcome, receipt.error.code) == (Outcome.REJECTED, code), name
        else:
            with pytest.raises(kind) as caught:
                await provider.create(document)
            assert code is None or caught.value.code == code, name
    assert synap.truth() == []


@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [
        ({"ingestion_id": HANDLE, "document_id": "mx:1", "status": "queued"}, Outcome.PENDING, None),
        ({"ingestion_id": HANDLE, "status": "queued"}, Outcome.PENDING, None),
        ({"ingestion_id": HANDLE, "document_id": "mx:2", "status": "queued"}, Outcome.UNKNOWN, "no_row"),
        ({"ingestion_id": HANDLE, "document_id": 7, "status": "queued"}, Outcome.UNKNOWN, "no_row"),
        ({"ingestion_id": None, "document_id": "mx:1", "status": "queued"}, Outcome.UNKNOWN, "no_handle"),
        ({"ingestion_id": 5, "document_id": "mx:1", "status": "queued"}, Outcome.UNKNOWN, "no_handle"),
        (
            {"ingestion_id": HANDLE, "status": "failed", "error_message": "already exists"},
            Outcome.REJECTED,
            "duplicate",
        ),
        ({"results": []}, Outcome.UNKNOWN, "unreadable_answer"),
        ([], Outcome.UNKNOWN, "unreadable_answer"),
    ],
)
async def test_nothing_is_accepted_that_the_answer_does_not_say_of_this_document(
    synap, app, documents, body, outcome, code
):
    provider = await app()
    synap.break_with(CREATE, status=200, body=body)
    receipt = await provider.create(documents(provider, 1)[0])
    assert (receipt.outcome, receipt.error.code if receipt.error else None) == (outcome, code)


@pytest.mark.parametrize("policy", ["row_error", "conflict"])
async def test_a_known_key_is_refused_as_a_duplicate(synap, app, documents, policy):
    synap.configure(duplicate_policy=policy)
    provider = await app()
    [document] = documents(provider, 1)
    first, again = [await provider.create(document) for _ in range(2)]
    assert (first.outcome, again.outcome, again.error.code) == (
        Outcome.PENDING,
        Outcome.REJECTED,
        "duplicate",
    )
    assert synap.stored() == {"mx:1": 1}


async def test_a_b2c_instance_and_shared_levels_take_single_documents_too(synap, app, record):
    synap.configure(isolation="equals_customer")
    provider = await app(customer_id=None, unscoped="client")
    for key, scope in (("mx:1", Scope(user="ann")), ("mx:2", Scope())):
        receipt = await provider.create(provider.prepare(record(1, scope=scope), key, {}))
        assert receipt.outcome is Outcome.PENDING
    assert [one["scope"]["level"] for one in synap.truth()] == ["user", "client"]
