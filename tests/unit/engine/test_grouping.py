"""Groups: sent whole, in order, and no part of one is lost or sent twice."""

import itertools

import msgspec
import pytest

from memxfer.engine.control import StopCause
from memxfer.errors import RecordError
from memxfer.ledger import State
from memxfer.spi import ClientKey, Joined, Outcome, WriteReceipt
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider
from tests.unit.engine.talking import Archive, Forgetful, talking_of

pytestmark = pytest.mark.anyio

CRASH = [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER]


@pytest.fixture
def archive():
    return Archive()


def turns(record, count=60, talks=3):
    """Turns of several conversations, mixed, newest first; every tenth record is none."""
    made = []
    for n in reversed(range(count)):
        metadata = {} if n % 10 == 9 else {"talk": f"t{n % talks}", "n": n}
        made.append(record(f"r{n:04d}", metadata=metadata))
    return made


@pytest.fixture
def talking(job, archive, record):
    job.target_class = talking_of(archive)
    job.source.seed(turns(record))
    return job


def said(archive, talks=3):
    """The turns of each conversation in the order they arrived."""
    found = {}
    for piece in archive.pieces:
        found.setdefault(int(piece[0][1:]) % talks, []).extend(int(one[1:]) for one in piece)
    return found


def check(job, archive, count=60, talks=3):
    job.check_complete()
    expected = {t: [n for n in range(count) if n % talks == t and n % 10 != 9] for t in range(talks)}
    assert said(archive) == expected
    assert job.query("SELECT count(*) FROM waiting") == [(0,)]


async def test_a_group_arrives_whole_and_in_its_order_however_it_was_listed(talking, archive):
    run = await talking.run()

    assert run.cause is None
    check(talking, archive)
    assert {len(piece) for piece in archive.pieces} == {4, 2}
    assert talking.states() == {State.STORED: 60}


async def test_each_part_has_its_own_row_key_and_target_id(talking, archive):
    await talking.run()

    rows = talking.query("SELECT id, key, target_ids FROM record WHERE request IS NOT NULL")
    assert len({key for _, key, _ in rows}) == 60
    assert all(len(talking.target_ids(record_id)) == 1 for record_id, _, _ in rows)


async def test_documents_and_records_are_counted_apart(talking, archive):
    await talking.run()

    assert talking.counters()["documents_acknowledged"] == 6 + len(archive.pieces)


async def test_nothing_of_a_group_is_sent_before_all_of_it_is_listed(talking, archive):
    run = await talking.run(source_faults=[Fault(FaultKind.AUTH, on="read_page", calls=(4,))])
    assert run.cause is StopCause.AUTH
    assert archive.pieces == []

    await talking.run()

    check(talking, archive)


@pytest.mark.parametrize("kind", CRASH)
@pytest.mark.parametrize("call", [1, 3, 5, 8, 12])
async def test_a_crash_in_mid_group_loses_and_repeats_nothing(talking, archive, kind, call):
    crashed = await talking.run(target_faults=[Fault(kind, calls=(call,))])
    assert crashed.crashed

    run = await talking.run()

    assert run.cause is None
    check(talking, archive)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_crash_at_every_commit_loses_and_repeats_nothing(make_job, record, durable):
    for crash_at in itertools.count(1):
        archive, job = Archive(), make_job()
        job.target_class = talking_of(archive)
        job.source.seed(turns(record))
        run = await job.run(crash_at=crash_at, durable=durable)
        if not run.crashed:
            break
        await job.run()
        check(job, archive)
    assert crash_at > 20


async def test_a_lost_answer_is_followed_by_the_same_again(talking, archive):
    talking.target_class = type("Lossy", (Forgetful,), {"archive": archive})

    run = await talking.run()

    assert run.cause is None
    check(talking, archive)
    assert talking.states()[State.PRESENT] in {2, 4}
    assert talking.counters()["documents_resent"] == 1


@pytest.mark.parametrize("client_key", [ClientKey.NONE, ClientKey.APPEND])
async def test_where_a_repeat_would_be_stored_twice_the_target_is_asked_first(talking, archive, client_key):
    talking.client_key = client_key
    talking.target_class = type("Lossy", (Forgetful,), {"archive": archive, "is_idempotent": False})

    run = await talking.run()

    assert run.cause is None
    check(talking, archive)


@pytest.mark.parametrize("kind", CRASH)
async def test_after_a_crash_such_a_target_is_asked_about_every_part(talking, archive, kind):
    talking.client_key = ClientKey.NONE
    talking.target_class = talking_of(archive, is_idempotent=False)
    crashed = await talking.run(target_faults=[Fault(kind, calls=(9,))])
    assert crashed.crashed

    await talking.run()

    check(talking, archive)


@pytest.mark.parametrize(("decision", "state"), [("skip", State.UNCERTAIN), ("resend", State.STORED)])
async def test_where_nobody_can_be_asked_the_user_decides(talking, archive, decision, state):
    talking.client_key = ClientKey.NONE
    talking.target_class = type("Lossy", (Forgetful,), {"archive": archive, "is_idempotent": False})
    stopped = await talking.run(hide_target=("lookup",))
    assert stopped.cause is StopCause.UNCERTAIN
    assert talking.states()[State.WAITING] > 0

    run = await talking.run(hide_target=("lookup",), on_uncertain=decision)

    assert run.cause is None
    assert talking.states()[State.WAITING] == 0
    assert talking.states()[state] >= 2


async def test_a_rate_limit_or_a_refused_key_leaves_the_group_unsent(talking, archive):
    run = await talking.run(
        target_faults=[
            Fault(FaultKind.RATE_LIMITED, calls=(4,), retry_after=1),
            Fault(FaultKind.AUTH, calls=(10,)),
        ]
    )
    assert run.cause is StopCause.AUTH
    waiting = talking.states()[State.WAITING]
    assert waiting > 0
    assert talking.query("SELECT max(sends) FROM record WHERE state = 'waiting'") == [(0,)]

    await talking.run()

    check(talking, archive)


async def test_a_group_that_can_never_be_sent_is_rejected_and_costs_no_other(talking, archive):
    archive.refused.add("talk:t1")

    run = await talking.run()

    assert run.cause is None
    assert talking.states() == {State.STORED: 42, State.REJECTED: 18}
    assert talking.problem_of("r0001") == "too_large"


async def test_a_part_that_was_accepted_once_and_is_refused_now_is_rejected_alone(
    talking, archive, monkeypatch
):
    stopped = await talking.run(target_faults=[Fault(FaultKind.AUTH, calls=(3,))])
    assert stopped.cause is StopCause.AUTH
    [(body,)] = talking.query("SELECT w.record FROM waiting w JOIN record r USING (seq) WHERE r.id = 'r0004'")
    assert b"text of r0004" in body
    monkeypatch.setattr(
        talking.target_class,
        "_prepare",
        lambda self, record, key, envelope, old=talking.target_class._prepare: old(
            self, record if record.id != "r0004" else _refusing(record), key, envelope
        ),
    )

    await talking.run()

    assert talking.state_of("r0004") == State.REJECTED
    assert talking.states()[State.STORED] == 59


def _refusing(record):
    return msgspec.structs.replace(record, content="refuse me")


async def test_a_listing_that_shifts_is_swept_before_a_group_is_sent(talking, archive, record):
    talking.source_config = {"max_page": 10, "listing": "offset"}

    async def insert(run):
        import asyncio

        while not run.source.script.calls("read_page"):
            await asyncio.sleep(0)
        talking.source.seed([record("r0060", metadata={"talk": "t0", "n": 60})])

    run = await talking.run(during=insert)

    assert run.cause is None
    talking.check_complete()
    assert said(archive)[0][-1] in {57, 60}
    assert sorted(said(archive)[1]) == [n for n in range(60) if n % 3 == 1 and n % 10 != 9]


async def test_a_cursor_that_dies_repeats_no_part(talking, archive):
    run = await talking.run(source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(4,))])

    assert run.cause is None
    check(talking, archive)


async def test_a_sample_takes_whole_groups(talking, archive):
    await talking.run(sample=5)

    found = said(archive)
    assert found
    for talk, numbers in found.items():
        assert numbers == [n for n in range(60) if n % 3 == talk and n % 10 != 9]

    await talking.run()

    check(talking, archive)


async def test_originals_of_waiting_parts_are_durable_before_they_are_sent(talking, archive):
    talking.residue = "lossy"
    stopped = await talking.run(target_faults=[Fault(FaultKind.AUTH, calls=(1,))])
    assert stopped.cause is StopCause.AUTH
    waiting = {record_id for record_id, state, _, _ in talking.rows() if state == State.WAITING}

    assert waiting
    assert {record_id for record_id, _ in talking.originals()} >= waiting

    await talking.run()

    check(talking, archive)
    assert len(talking.originals()) == 54


async def test_a_job_does_not_go_on_under_settings_that_send_its_parts_otherwise(talking, archive):
    stopped = await talking.run(target_faults=[Fault(FaultKind.AUTH, calls=(1,))])
    assert stopped.cause is StopCause.AUTH
    grouping, talking.target_class = talking.target_class, MemoryReferenceProvider

    run = await talking.run()

    assert run.cause is StopCause.CONFIG
    assert "Restore the connection's settings" in run.control.reason

    talking.target_class = grouping
    await talking.run()

    check(talking, archive)


async def test_nor_under_settings_that_group_what_was_on_its_way_alone(talking, archive):
    grouping, talking.target_class = talking.target_class, MemoryReferenceProvider
    crashed = await talking.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(2,))])
    assert crashed.crashed
    talking.target_class = grouping

    run = await talking.run()

    assert run.cause is StopCause.CONFIG
    assert "Restore the connection's settings" in run.control.reason
    assert archive.pieces == []


# -- names of groups ----------------------------------------------------------------------------

ODD_NAMES = [
    *("", " ", "\x00", "a\x00b", "a\x00c", "%", "\N{REPLACEMENT CHARACTER}"),
    *("\ud800", "\ud801", "\\ud800", "\udfff\ud800"),
    *("x" * 100_000, "x" * 100_001, "x" * 512, "x" * 512 + "#sha256:"),
]


def named(archive, **attributes):
    """A target whose groups have odd names: `metadata["odd"]` says which."""
    kind = talking_of(archive, **attributes)

    def prepare(self, record, key, envelope):
        prepared = super(kind, self)._prepare(record, key, envelope)
        name = ODD_NAMES[record.metadata["odd"]]
        return msgspec.structs.replace(prepared, group=name, rank=f"\ud800{record.metadata['n']}")

    return type("Named", (kind,), {"_prepare": prepare})


@pytest.fixture
def oddly_named(job, archive, record):
    job.target_class = named(archive)
    job.source.seed(
        record(f"r{odd:02d}-{n}", metadata={"talk": "t", "n": n, "odd": odd})
        for n in range(6)
        for odd in range(len(ODD_NAMES))
    )
    return job


def check_odd(job, archive):
    expected = {
        tuple(f"r{odd:02d}-{n}" for n in span) for odd in range(len(ODD_NAMES)) for span in (range(4), (4, 5))
    }
    assert set(archive.pieces) == expected
    # What another writer had stored before a crash, and had no receipt for, is found present.
    assert sum(job.states().values()) == 6 * len(ODD_NAMES)
    assert job.states().keys() <= {State.STORED, State.PRESENT}
    assert job.query("SELECT count(*) FROM waiting") == [(0,)]


async def test_every_group_is_sent_whole_and_alone_whatever_its_name(oddly_named, archive):
    run = await oddly_named.run()

    assert run.cause is None
    check_odd(oddly_named, archive)


@pytest.mark.parametrize("call", [1, 7, 20])
async def test_an_interrupted_job_finds_its_groups_again_whatever_their_names(oddly_named, archive, call):
    crashed = await oddly_named.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(call,))], writers=2)
    assert crashed.crashed

    run = await oddly_named.run()

    assert run.cause is None
    check_odd(oddly_named, archive)


async def test_a_sample_takes_whole_groups_whatever_their_names(oddly_named, archive):
    await oddly_named.run(sample=2)
    await oddly_named.run(sample=2)

    assert oddly_named.states() == {State.STORED: 6 * 2}

    await oddly_named.run()

    check_odd(oddly_named, archive)


@pytest.mark.parametrize(
    "counts",
    [(), (1,), (2, 0, 16), (18, -1, 1), (9, 10)],
    ids=["none", "too few", "zero", "negative", "too many"],
)
async def test_a_group_that_the_target_joins_wrongly_fails_by_name_and_costs_no_other(
    talking, archive, counts
):
    def join(self, parts, right=talking.target_class.join):
        if parts[0].group != "talk:t1":
            return right(self, parts)
        return [Joined(parts[0], count) for count in counts]

    talking.target_class.join = join

    run = await talking.run()

    assert run.cause is None
    assert talking.states() == {State.STORED: 42, State.REJECTED: 18}
    assert talking.problem_of("r0001") == "unmappable"


async def test_a_target_that_trips_over_one_group_costs_no_other(talking, archive):
    def join(self, parts, right=talking.target_class.join):
        return right(self, parts) if parts[0].group != "talk:t2" else {}["text of a memory"]

    talking.target_class.join = join

    run = await talking.run()

    assert run.cause is None
    assert talking.states() == {State.STORED: 42, State.REJECTED: 18}
    assert talking.query("SELECT DISTINCT reason FROM problem") == [
        ("the group cannot be joined for memory (KeyError)",)
    ]


@pytest.mark.parametrize("fault", [FaultKind.RATE_LIMITED, FaultKind.UNAVAILABLE])
async def test_a_group_under_a_strangers_key_is_a_conflict_also_after_a_refusal_that_stored_nothing(
    job, archive, record, fault
):
    class Taken(talking_of(archive, is_idempotent=False)):
        async def _write(self, batch):
            error = RecordError("exists", code="duplicate")
            return [WriteReceipt(Outcome.REJECTED, error=error) for _ in batch]

    job.target_class = Taken
    job.client_key = ClientKey.REJECT
    job.source.seed(record(f"r{n}", metadata={"talk": "t", "n": n}) for n in range(3))
    await job.run(target_faults=[Fault(fault, calls=(1,))])
    assert job.states() == {State.FAILED: 3}
    assert job.problem_of("r0") == "conflict"
