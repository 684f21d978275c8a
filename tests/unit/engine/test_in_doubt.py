"""What becomes of documents that may or may not have been stored."""

import msgspec
import pytest

from memxfer.engine.control import StopCause
from memxfer.engine.writing import judge
from memxfer.errors import AmbiguousError, RecordError
from memxfer.ledger import State
from memxfer.spi import ClientKey, Outcome, WriteReceipt
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

KEYED = [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.UNKNOWN, ClientKey.REJECT]
KEYLESS = [ClientKey.NONE, ClientKey.APPEND]
CRASH = [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER]
AMBIGUOUS = [FaultKind.AMBIGUOUS_BEFORE, FaultKind.AMBIGUOUS_AFTER]
HAPPENED = {FaultKind.CRASH_AFTER, FaultKind.AMBIGUOUS_AFTER}


def change(job, record_id, text):
    [row] = [row for row in job.source.rows() if row.record.id == record_id]
    job.source.replace(row, msgspec.structs.replace(row.record, content=text))


async def leave_in_doubt(job, kind, **options):
    """One batch of three is sent; what became of it nobody noted."""
    job.seed(3)
    run = await job.run(target_faults=[Fault(kind, calls=(1,))], **options)
    if kind in CRASH:
        assert run.crashed
        assert job.states() == {"intent": 3}
    return run


# -- targets that take a key: send again --------------------------------------------------------


@pytest.mark.parametrize("client_key", KEYED)
@pytest.mark.parametrize("kind", CRASH)
async def test_after_a_crash_a_keyed_target_gets_the_documents_again(job, client_key, kind):
    job.client_key = client_key
    await leave_in_doubt(job, kind)
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"present" if kind in HAPPENED else "stored": 3}
    assert run.target.script.calls("write") == 1
    # Only a refusal does not say which document has the key.
    is_asked = client_key is ClientKey.REJECT and kind in HAPPENED
    assert run.target.script.calls("lookup") == int(is_asked)
    assert job.query("SELECT * FROM problem") == []
    job.check_complete()
    assert job.counters()["documents_resent"] == 3


@pytest.mark.parametrize("client_key", KEYED)
@pytest.mark.parametrize("kind", AMBIGUOUS)
async def test_after_a_lost_answer_a_keyed_target_gets_the_documents_again_in_the_same_run(
    job, client_key, kind
):
    job.client_key = client_key
    run = await leave_in_doubt(job, kind)
    assert run.cause is None
    assert job.states() == {"present" if kind in HAPPENED else "stored": 3}
    job.check_complete()
    assert [row[2] for row in job.rows()] == [2, 2, 2]
    assert job.counters()["documents_resent"] == 3


async def test_an_unknown_key_that_refuses_duplicates_is_present_on_the_second_send(job):
    class Refusing(MemoryReferenceProvider):
        def _store_again(self, document, row):
            error = RecordError("exists", code="duplicate")
            return WriteReceipt(Outcome.REJECTED, error=error)

    job.client_key = ClientKey.UNKNOWN
    job.target_class = Refusing
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    await job.run()
    assert job.states() == {"present": 3}


async def test_an_ambiguous_error_counts_like_ambiguous_receipts(job):
    class Lost(MemoryReferenceProvider):
        lost = 0

        async def _write(self, batch):
            receipts = await super()._write(batch)
            if not Lost.lost:
                Lost.lost += 1
                raise AmbiguousError("the answer was lost")
            return receipts

    job.target_class = Lost
    job.seed(3)
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"present": 3}


async def test_a_write_that_may_have_happened_is_never_just_sent_again(job):
    class Lost(MemoryReferenceProvider):
        async def _write(self, batch):
            await super()._write(batch)
            raise AmbiguousError("the answer was lost")

    job.client_key = ClientKey.APPEND
    job.target_class = Lost
    job.seed(3)
    run = await job.run(hide_target=("lookup",))
    assert run.cause is StopCause.UNCERTAIN
    assert len(job.target) == 3


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.REJECT])
async def test_a_target_that_never_answers_clearly_pauses_the_job_with_the_documents_in_doubt(
    job, client_key
):
    job.client_key = client_key
    job.seed(3)
    run = await job.run(target_faults=[Fault(FaultKind.AMBIGUOUS_AFTER)])
    assert run.cause is StopCause.UNAVAILABLE
    assert "tries" in run.control.reason or "times" in run.control.reason
    assert job.states() == {"intent": 3}
    await job.run()
    assert job.states() == {"present": 3}
    job.check_complete()


# -- conflicts ----------------------------------------------------------------------------------


async def test_a_duplicate_refusal_of_a_first_send_is_a_conflict(job, record):
    job.client_key = ClientKey.REJECT
    job.target.insert(record("somebody else's"), key=job.key("r0001"))
    job.seed(3)
    await job.run()
    assert job.state_of("r0001") == "failed"
    assert job.problem_of("r0001") == "conflict"
    assert job.states() == {"stored": 2, "failed": 1}


KEEPING_THE_FIRST = [ClientKey.REJECT, ClientKey.DEDUPE, ClientKey.UNKNOWN]


@pytest.mark.parametrize("client_key", KEEPING_THE_FIRST)
@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.AMBIGUOUS_BEFORE])
async def test_a_strangers_document_is_not_ours_because_we_were_about_to_send(job, record, client_key, kind):
    job.client_key = client_key
    job.target.insert(record("x", "somebody else's"), key=job.key("r0001"))
    run = await leave_in_doubt(job, kind)
    if kind in CRASH:
        run = await job.run()
    assert run.cause is None
    assert job.states() == {"stored": 2, "failed": 1}
    assert job.problem_of("r0001") == "conflict"


@pytest.mark.parametrize("client_key", KEEPING_THE_FIRST)
async def test_a_strangers_document_is_not_ours_after_a_refusal_that_stored_nothing(job, record, client_key):
    job.client_key = client_key
    job.target.insert(record("x", "somebody else's"), key=job.key("r0001"))
    job.seed(3)
    await job.run(
        target_faults=[Fault(FaultKind.RATE_LIMITED, calls=(1,)), Fault(FaultKind.UNAVAILABLE, calls=(2,))]
    )
    assert job.states() == {"stored": 2, "failed": 1}
    assert [row[2] for row in job.rows()] == [1, 1, 1]


@pytest.mark.parametrize("client_key", KEEPING_THE_FIRST)
@pytest.mark.parametrize("kind", CRASH)
async def test_where_the_target_cannot_be_asked_for_the_content_a_taken_key_is_told_as_a_guess(
    job, record, client_key, kind
):
    job.client_key = client_key
    await leave_in_doubt(job, kind)
    if kind not in HAPPENED:
        job.target.insert(record("x", "somebody else's"), key=job.key("r0001"))
    await job.run(hide_target=("get",))
    assert job.state_of("r0001") == "present"
    assert job.problem_of("r0001") == "unverified_duplicate"


@pytest.mark.parametrize("client_key", [ClientKey.DEDUPE, ClientKey.UNKNOWN])
async def test_a_second_job_finds_what_the_first_one_stored_if_it_can_compare(make_job, client_key):
    first = make_job(client_key=client_key)
    first.seed(3)
    await first.run()
    change(first, "r0001", "changed since")
    for hidden in ((), ("get",)):
        again = make_job(client_key=client_key, source=first.source, target=first.target)
        await again.run(hide_target=hidden)
        expected = {"failed": 3} if hidden else {"present": 2, "failed": 1}
        assert again.states() == expected
        assert again.problem_of("r0001") == "conflict"


async def test_a_changed_record_under_a_refused_key_is_a_conflict(job):
    job.client_key = ClientKey.REJECT
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    await job.run()
    assert job.states() == {"present": 2, "failed": 1}
    assert job.problem_of("r0001") == "conflict"


async def test_a_changed_record_that_a_deduping_target_did_not_take_is_a_conflict(job):
    job.client_key = ClientKey.DEDUPE
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    await job.run()
    assert job.state_of("r0001") == "failed"
    assert job.problem_of("r0001") == "conflict"


async def test_a_changed_record_is_a_conflict_also_when_its_own_first_answer_was_lost(job):
    """The refusal of the second send may be due to the older form: it proves nothing about the new one."""
    job.client_key = ClientKey.REJECT
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    await job.run(target_faults=[Fault(FaultKind.AMBIGUOUS_BEFORE, calls=(1,))])
    assert job.problem_of("r0001") == "conflict"
    assert job.states() == {"present": 2, "failed": 1}


async def test_a_changed_record_replaces_its_older_self_in_an_upserting_target(job):
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    await job.run()
    assert job.states() == {"present": 2, "stored": 1}
    assert [r.content for r in job.target.records if r.id == "r0001"] == ["changed since"]


async def test_a_changed_record_whose_older_self_is_found_by_look_up_is_a_conflict(job):
    job.client_key = ClientKey.APPEND
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    await job.run()
    assert job.states() == {"present": 2, "failed": 1}
    assert job.problem_of("r0001") == "conflict"
    assert len(job.target) == 3


@pytest.mark.parametrize("client_key", [ClientKey.APPEND, ClientKey.REJECT])
async def test_a_changed_record_that_was_never_stored_arrives_changed(job, client_key):
    job.client_key = client_key
    await leave_in_doubt(job, FaultKind.CRASH_BEFORE)
    change(job, "r0001", "changed since")
    await job.run()
    assert job.states() == {"stored": 3}
    assert [r.content for r in job.target.records if r.id == "r0001"] == ["changed since"]


async def test_a_changed_record_that_was_absent_and_is_found_after_its_own_send_is_present(job):
    job.client_key = ClientKey.APPEND
    await leave_in_doubt(job, FaultKind.CRASH_BEFORE)
    change(job, "r0001", "changed since")
    await job.run(target_faults=[Fault(FaultKind.AMBIGUOUS_AFTER, calls=(1,))])
    assert job.states() == {"present": 3}
    assert [r.content for r in job.target.records if r.id == "r0001"] == ["changed since"]


@pytest.mark.parametrize("client_key", [ClientKey.APPEND, ClientKey.REJECT, ClientKey.DEDUPE])
async def test_a_changed_record_stays_in_doubt_when_the_second_run_stops_before_it_sends(job, client_key):
    job.client_key = client_key
    await leave_in_doubt(job, FaultKind.CRASH_AFTER)
    change(job, "r0001", "changed since")
    before = job.rows()
    run = await job.run(target_faults=[Fault(FaultKind.AUTH), Fault(FaultKind.AUTH, on="lookup")])
    assert run.cause is StopCause.AUTH
    assert job.rows() == before
    await job.run()
    assert job.problem_of("r0001") == "conflict"
    assert len(job.target) == 3


# -- targets without a key: ask -----------------------------------------------------------------


@pytest.mark.parametrize("client_key", KEYLESS)
@pytest.mark.parametrize("kind", CRASH)
async def test_after_a_crash_a_keyless_target_is_asked_before_anything_is_sent_again(job, client_key, kind):
    job.client_key = client_key
    await leave_in_doubt(job, kind)
    run = await job.run()
    stored = kind in HAPPENED
    assert job.states() == {"present" if stored else "stored": 3}
    assert run.target.script.calls("write") == (0 if stored else 1)
    job.check_complete()
    assert all(job.target_ids(record_id) for record_id in job.source_ids())


@pytest.mark.parametrize("client_key", KEYLESS)
@pytest.mark.parametrize("kind", AMBIGUOUS)
async def test_after_a_lost_answer_a_keyless_target_is_asked(job, client_key, kind):
    job.client_key = client_key
    run = await leave_in_doubt(job, kind)
    assert run.cause is None
    assert job.states() == {"present" if kind in HAPPENED else "stored": 3}
    job.check_complete()


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.AMBIGUOUS_BEFORE])
async def test_not_found_counts_only_after_the_horizon_of_the_look_up(job, kind):
    class Eventual(MemoryReferenceProvider):
        lookup_visibility = 7.0

    job.client_key = ClientKey.NONE
    job.target_class = Eventual
    run = await leave_in_doubt(job, kind)
    if kind is FaultKind.CRASH_BEFORE:
        run = await job.run()
    assert 7.0 in run.clock.slept
    assert job.states() == {"stored": 3}


@pytest.mark.parametrize("on_uncertain", ["skip", "resend", "stop"])
async def test_a_look_up_that_sees_only_finished_tasks_proves_presence_and_never_absence(job, on_uncertain):
    job.client_key = ClientKey.APPEND
    job.target_config = {"max_batch": 5, "acknowledges": "async", "polls_until_stored": 3}
    job.seed(3)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    run = await job.run(on_uncertain=on_uncertain, settle=False)
    expected = {"skip": {"uncertain": 3}, "resend": {"accepted": 3}, "stop": {"intent": 3}}
    assert job.states() == expected[on_uncertain]
    assert (run.cause is StopCause.UNCERTAIN) == (on_uncertain == "stop")


@pytest.mark.parametrize("client_key", KEYLESS)
@pytest.mark.parametrize("kind", CRASH + AMBIGUOUS)
async def test_a_target_that_cannot_be_asked_stops_the_job_for_a_decision(job, client_key, kind):
    job.client_key = client_key
    run = await leave_in_doubt(job, kind, hide_target=("lookup",))
    if kind in CRASH:
        run = await job.run(hide_target=("lookup",))
        assert run.target.script.calls("write") == 0
    assert run.cause is StopCause.UNCERTAIN
    assert "--on-uncertain" in run.control.reason
    assert job.states() == {"intent": 3}
    assert job.problem_of("r0000") == "uncertain"


@pytest.mark.parametrize("client_key", KEYLESS)
@pytest.mark.parametrize("kind", CRASH + AMBIGUOUS)
async def test_skip_leaves_them_uncertain_and_goes_on(job, client_key, kind):
    job.client_key = client_key
    run = await leave_in_doubt(job, kind, hide_target=("lookup",), on_uncertain="skip")
    job.seed(4, start=10)
    if kind in CRASH:
        run = await job.run(hide_target=("lookup",), on_uncertain="skip")
        assert run.cause is None
        assert job.states() == {"uncertain": 3, "stored": 4}
    else:
        assert job.states() == {"uncertain": 3}
    assert run.cause is None
    assert job.problem_of("r0000") == "uncertain"


@pytest.mark.parametrize("client_key", KEYLESS)
@pytest.mark.parametrize("kind", CRASH + AMBIGUOUS)
async def test_resend_sends_again_and_may_store_twice(job, client_key, kind):
    job.client_key = client_key
    run = await leave_in_doubt(job, kind, hide_target=("lookup",), on_uncertain="resend")
    if kind in CRASH:
        run = await job.run(hide_target=("lookup",), on_uncertain="resend")
    assert run.cause is None
    assert job.states() == {"stored": 3}
    assert len(job.target) == (6 if kind in HAPPENED else 3)


@pytest.mark.parametrize("decision", ["resend", "skip"])
@pytest.mark.parametrize("kind", CRASH + AMBIGUOUS)
async def test_a_decision_made_after_the_stop_is_carried_out(job, kind, decision):
    job.client_key = ClientKey.NONE
    await leave_in_doubt(job, kind, hide_target=("lookup",))
    job.seed(2, start=10)
    await job.run(hide_target=("lookup",))
    await job.run(hide_target=("lookup",))  # resumed without a decision: it stops again
    run = await job.run(hide_target=("lookup",), on_uncertain=decision)
    assert run.cause is None
    if decision == "resend":
        assert job.states() == {"stored": 5}
        assert job.problem_of("r0000") is None
    else:
        assert job.states() == {"uncertain": 3, "stored": 2}


# -- the table itself ---------------------------------------------------------------------------


def rejected(code):
    return WriteReceipt(Outcome.REJECTED, error=RecordError("no", code=code, correlation_id="req-1"))


@pytest.mark.parametrize(
    ("receipt", "sends", "state", "code"),
    [
        (WriteReceipt(Outcome.CREATED), 1, State.STORED, None),
        (WriteReceipt(Outcome.UPDATED), 1, State.STORED, None),
        (WriteReceipt(Outcome.PRESENT), 1, State.FAILED, "conflict"),
        (WriteReceipt(Outcome.PRESENT), 2, State.PRESENT, "unverified_duplicate"),
        (WriteReceipt(Outcome.PENDING, ingestion_id="i"), 1, State.ACCEPTED, None),
        (WriteReceipt(Outcome.PENDING), 1, State.UNCERTAIN, "no_handle"),
        (WriteReceipt(Outcome.UNKNOWN), 1, None, None),
        (WriteReceipt(Outcome.REJECTED), 1, State.FAILED, None),
        (rejected("too_large"), 1, State.FAILED, "too_large"),
        (rejected("too_large"), 2, State.FAILED, "too_large"),
        (rejected("duplicate"), 1, State.FAILED, "conflict"),
        (rejected("duplicate"), 2, State.PRESENT, "unverified_duplicate"),
    ],
)
def test_a_receipt_is_read_by_its_outcome_and_the_sends_before(receipt, sends, state, code):
    verdict = judge(receipt, sends=sends)
    assert verdict.state is state
    assert (verdict.problem.code if verdict.problem else None) == code


TAKEN = [WriteReceipt(Outcome.PRESENT), rejected("duplicate")]


@pytest.mark.parametrize("receipt", TAKEN, ids=["present", "refused"])
@pytest.mark.parametrize(
    ("sends", "is_changed", "is_held", "state", "code"),
    [
        (2, False, True, State.PRESENT, None),
        (2, False, False, State.FAILED, "conflict"),
        (1, True, True, State.PRESENT, None),
        (1, True, False, State.FAILED, "conflict"),
        (1, True, None, State.FAILED, "conflict"),
        (2, True, None, State.FAILED, "conflict"),
        (1, False, False, State.FAILED, "conflict"),
        (1, False, None, State.FAILED, "conflict"),
    ],
)
def test_a_taken_key_is_ours_only_with_our_content_or_an_earlier_send(
    receipt, sends, is_changed, is_held, state, code
):
    verdict = judge(receipt, sends=sends, is_changed=is_changed, is_held=is_held)
    assert verdict.state is state
    assert (verdict.problem.code if verdict.problem else None) == code


def test_a_target_that_replaces_has_compared_what_it_calls_present():
    verdict = judge(WriteReceipt(Outcome.PRESENT), sends=1, is_changed=True, replaces=True)
    assert (verdict.state, verdict.problem) == (State.PRESENT, None)


def test_the_backends_request_id_is_kept_with_the_refusal():
    assert judge(rejected("invalid"), sends=1).problem.correlation_id == "req-1"
    assert judge(rejected("duplicate"), sends=1).problem.correlation_id == "req-1"
    receipt = WriteReceipt(Outcome.REJECTED, error=RecordError("no"), correlation_id="req-2")
    assert judge(receipt, sends=1).problem.correlation_id == "req-2"
