"""No way past consent: fresh records, parts of groups, records in doubt, and those the source lost."""

import pytest

from memxfer.engine.control import StopCause
from memxfer.ledger import State
from memxfer.ledger.states import LOSS
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from tests.unit.engine.talking import Archive, talking_of

pytestmark = pytest.mark.anyio

DROPS = {"max_batch": 5, "drops": ["tags"]}
TAGGED = {"tags": ("a",)}


def counted(job):
    return {name.split(":")[0]: n for name, n in job.counters().items() if name.startswith(LOSS) and n}


@pytest.fixture
def strict(job):
    job.accepted = ()
    return job


async def test_nothing_is_noted_or_sent_of_a_page_with_a_record_beyond_consent_after_it(strict, record):
    strict.target_config = DROPS
    strict.seed(25)
    strict.source.seed([record("x", **TAGGED)])

    run = await strict.run()

    assert run.cause is StopCause.DECISION
    assert "x" not in {row[0] for row in strict.rows()}
    assert State.INTENT not in strict.states()
    strict.accepted = ("tags",)
    run = await strict.run()
    assert run.cause is None
    strict.check_complete()
    assert counted(strict) == {"loss/tags": 1}


async def test_parts_of_a_group_wait_on_when_the_target_begins_to_drop_what_they_carry(strict, record):
    archive = Archive()
    strict.target_class = talking_of(archive)
    talk = [record(f"r{n}", metadata={"talk": "t", "n": n}, **TAGGED) for n in range(6)]
    strict.source.seed(talk)
    crashed = await strict.run(target_faults=[Fault(FaultKind.CRASH_BEFORE)])
    assert crashed.crashed
    assert strict.states()[State.WAITING] == 6

    strict.target_config = DROPS
    run = await strict.run()

    assert run.cause is StopCause.DECISION
    assert (archive.pieces, strict.states()) == ([], {State.WAITING: 6})
    strict.accepted = ("content",)
    assert (await strict.run()).cause is None
    assert strict.states() == {State.STORED: 6}


async def test_parts_of_a_group_beyond_consent_do_not_even_wait(strict, record):
    strict.target_class = talking_of(Archive())
    strict.target_config = DROPS
    strict.source.seed([record(f"r{n}", metadata={"talk": "t", "n": n}, **TAGGED) for n in range(3)])

    run = await strict.run()

    assert run.cause is StopCause.DECISION
    assert strict.rows() == []


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.NONE])
async def test_a_record_in_doubt_is_not_sent_again_beyond_consent(strict, record, is_listed, client_key):
    strict.client_key = client_key
    strict.source.seed([record("x", **TAGGED)])
    strict.accepted = ("tags",)
    crashed = await strict.run(target_faults=[Fault(FaultKind.CRASH_BEFORE)])
    assert crashed.crashed
    assert strict.states() == {State.INTENT: 1}

    strict.accepted = ()
    strict.target_config = DROPS
    lost = [] if is_listed else [Fault(FaultKind.VANISHED_ROWS, on="read_page")]
    run = await strict.run(source_faults=lost)

    assert run.cause is StopCause.DECISION
    assert len(strict.target) == 0
    assert strict.states() == {State.INTENT: 1}
    strict.accepted = ("all",)
    assert (await strict.run()).cause is None
    strict.check_complete()


async def test_what_is_taken_back_is_not_counted_as_lost(strict, record):
    strict.accepted = ("tags",)
    strict.target_config = DROPS
    strict.source.seed([record(f"r{n:02}", **TAGGED) for n in range(40)])

    stopped = await strict.run(target_faults=[Fault(FaultKind.AUTH, calls=(3,))])
    assert stopped.cause is StopCause.AUTH
    assert counted(strict).get("loss/tags", 0) == len(strict.rows())
    await strict.run()

    strict.check_complete()
    assert counted(strict) == {"loss/tags": 40}


async def test_the_same_losses_are_counted_once_whatever_crashes(strict, record):
    strict.accepted = ("tags",)
    strict.target_config = DROPS
    strict.source.seed([record(f"r{n:02}", **TAGGED) for n in range(20)])
    for at in (3, 5, 7):
        await strict.run(crash_at=at, durable=at == 5)
    await strict.run()

    strict.check_complete()
    assert counted(strict) == {"loss/tags": 20}
