import pytest

from memxfer.capabilities import ClientKey
from memxfer.errors import AmbiguousError, RecordError
from memxfer.migration.probing.policy import KeyTrial, judge_key
from memxfer.migration.probing.sending import Sent
from memxfer.models import MemoryRecord
from memxfer.spi import Document, IngestState, IngestStatus, Outcome, WriteReceipt

RECORD = MemoryRecord(id="r", content="text")
DOCUMENT = Document(key="k", record_id="r", body=None, size=1, scope="user")


def sent(outcome, *ids, ingestion=None, state=None, code=None):
    error = RecordError("no", code=code) if code else None
    status = IngestStatus(state, target_ids=ids, error=error) if state else None
    receipt = WriteReceipt(outcome, target_ids=() if state else ids, ingestion_id=ingestion, error=error)
    return Sent(DOCUMENT, RECORD, receipt=receipt, status=status)


def created(*ids):
    return sent(Outcome.CREATED, *ids)


def pending(ingestion, *ids, state=IngestState.STORED, code=None):
    return sent(Outcome.PENDING, *ids, ingestion=ingestion, state=state, code=code)


def refused(code="duplicate"):
    return sent(Outcome.REJECTED, code=code)


PRESENT, UPDATED = sent(Outcome.PRESENT, "1"), sent(Outcome.UPDATED, "1")


@pytest.mark.parametrize(
    ("again", "changed", "seen", "policy"),
    [
        # refusals
        (refused(), refused(), {}, "reject"),
        (refused("invalid"), refused("invalid"), {}, "reject"),
        (PRESENT, refused(), {}, "reject"),
        (pending("b", state=IngestState.FAILED, code="duplicate"), refused(), {}, "reject"),
        # answers with what is there
        (PRESENT, PRESENT, {}, "dedupe"),
        (pending("a", "1"), pending("a", "1"), {}, "dedupe"),
        (pending("a"), pending("a"), {}, "dedupe"),
        (PRESENT, PRESENT, {"copies": 1, "has_first_text": True}, "dedupe"),
        (PRESENT, UPDATED, {"copies": 1, "has_first_text": True}, "dedupe"),
        # replacements
        (PRESENT, UPDATED, {}, "upsert"),
        (PRESENT, UPDATED, {"copies": 1, "has_changed_text": True}, "upsert"),
        (PRESENT, PRESENT, {"copies": 1, "has_changed_text": True}, "upsert"),
        (pending("b", "2"), pending("c", "3"), {"first_remains": False}, "upsert"),
        (created("2"), created("3"), {"copies": 1, "has_changed_text": True}, "upsert"),
        # copies
        (created("2"), created("3"), {"first_remains": True}, "append"),
        (created("2"), created("3"), {"copies": 3}, "append"),
        (PRESENT, UPDATED, {"copies": 2}, "append"),
        (refused(), refused(), {"copies": 2}, "append"),
        (pending("b", "2"), pending("c", "3"), {"first_remains": True}, "append"),
        # nothing tells
        (created("2"), created("3"), {}, None),
        (pending("b"), pending("c"), {}, None),
        (UPDATED, sent(Outcome.UPDATED, "9"), {}, None),
        (sent(Outcome.UNKNOWN), created("3"), {"first_remains": False}, None),
        (pending("b", state=IngestState.PROCESSING), created("3"), {}, None),
        (pending("b", state=IngestState.GONE), created("3"), {}, None),
        (UPDATED, refused("invalid"), {}, None),
    ],
)
def test_the_policy_shows_in_what_becomes_of_the_first_copy(again, changed, seen, policy):
    trial = KeyTrial(pending("a", "1") if again.ingestion_id else created("1"), again, changed, **seen)
    found, note = judge_key(trial)
    assert found == (None if policy is None else ClientKey(policy))
    assert note


def test_a_refusal_that_does_not_say_duplicate_is_told():
    told = [
        judge_key(KeyTrial(created("1"), refused(code), refused(code)))[1] for code in ("duplicate", "odd")
    ]
    assert "not as a duplicate" not in told[0]
    assert "not as a duplicate" in told[1]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (None, "sent anything"),
        (created("1"), "three times"),
        (refused("too_large"), "was not stored: no"),
        (pending("a", state=IngestState.PROCESSING), "still being processed"),
    ],
)
def test_without_three_documents_there_is_no_policy_but_a_reason(first, told):
    found, note = judge_key(KeyTrial(first))
    assert found is None
    assert told in note


def test_a_lost_answer_is_named():
    lost = sent(Outcome.UNKNOWN)
    lost.receipt = WriteReceipt(Outcome.UNKNOWN, error=AmbiguousError("the answer was lost"))
    assert "the answer was lost" in judge_key(KeyTrial(created("1"), lost, lost))[1]
