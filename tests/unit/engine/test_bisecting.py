"""A batch refused as a whole: only the documents concerned fail."""

import pytest

from memxfer.engine.control import StopCause
from memxfer.errors import AuthError, BatchRefusedError
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class Strict(MemoryReferenceProvider):
    """Refuses a batch for any bad document in it, as servers with one transaction per request do."""

    bad = frozenset()
    fails_after = 10**9
    calls = 0

    async def _write(self, batch):
        type(self).calls += 1
        if type(self).calls > self.fails_after:
            raise AuthError("revoked")
        if any(document.record_id in self.bad for document in batch):
            raise BatchRefusedError("409", status=409, code="invalid", correlation_id="req-9")
        return await super()._write(batch)


def strict(*bad, fails_after=10**9):
    return type("Strict", (Strict,), {"bad": frozenset(bad), "fails_after": fails_after})


@pytest.mark.parametrize("bad", [["r0000"], ["r0007"], ["r0003", "r0004"], [f"r{n:04d}" for n in range(8)]])
async def test_only_the_documents_concerned_fail_and_the_others_arrive_once(job, bad):
    job.target_class = strict(*bad)
    job.target_config = {"max_batch": 8}
    job.seed(8)
    run = await job.run()
    assert run.cause is None
    assert {row[0] for row in job.rows() if row[1] == "failed"} == set(bad)
    assert sorted(job.target.keys) == [job.key(i) for i in job.source_ids() if i not in bad]
    assert all(attempts == 1 for attempts in job.target.attempts.values())
    assert {job.problem_of(record_id) for record_id in bad} == {"invalid"}
    assert job.query("SELECT DISTINCT correlation_id FROM problem") == [("req-9",)]


async def test_a_refused_duplicate_in_a_batch_costs_only_itself(job, record):
    class OneTransaction(MemoryReferenceProvider):
        async def _write(self, batch):
            if any(self.data.by_key(document.key) for document in batch):
                raise BatchRefusedError("409", status=409, code="duplicate")
            return await super()._write(batch)

    job.client_key = ClientKey.REJECT
    job.target_class = OneTransaction
    job.target.insert(record("other"), key=job.key("r0002"))
    job.seed(5)
    await job.run()
    assert job.problem_of("r0002") == "conflict"
    assert job.states() == {"stored": 4, "failed": 1}


async def test_after_a_crash_refused_duplicates_of_a_batch_are_present(job):
    class OneTransaction(MemoryReferenceProvider):
        async def _write(self, batch):
            if any(self.data.by_key(document.key) for document in batch):
                raise BatchRefusedError("409", status=409, code="duplicate")
            return await super()._write(batch)

    job.client_key = ClientKey.REJECT
    job.target_class = OneTransaction
    job.seed(5)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    await job.run()
    assert job.states() == {"present": 5}
    job.check_complete()


async def test_a_stop_between_the_halves_takes_every_unsent_intent_back(job):
    job.client_key = ClientKey.APPEND
    job.target_class = strict("r0000", fails_after=1)
    job.target_config = {"max_batch": 8}
    job.seed(8)
    run = await job.run()
    assert run.cause is StopCause.AUTH
    assert job.states() == {}
    job.target_class = MemoryReferenceProvider
    again = await job.run()
    assert again.target.script.calls("lookup") == 0
    job.check_complete()
