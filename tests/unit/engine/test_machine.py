"""Random sources, random crashes, random faults: nothing lost, nothing twice, and the ledger is right."""

import asyncio
import random
import zlib
from collections import Counter

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from memxfer.models import content_hash
from memxfer.spi import ClientKey, Document
from memxfer.testing import Fault, FaultKind

EXACT = [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT, ClientKey.NONE, ClientKey.APPEND]
READS = [
    FaultKind.RATE_LIMITED,
    FaultKind.UNAVAILABLE,
    FaultKind.AUTH,
    FaultKind.CRASH_BEFORE,
    FaultKind.CRASH_AFTER,
    FaultKind.DUPLICATED_ROWS,
    FaultKind.REORDERED_ROWS,
    FaultKind.DEFECT_ROW,
    FaultKind.REPEATED_CURSOR,
    FaultKind.EMPTY_PAGE,
    FaultKind.CURSOR_EXPIRED,
]
WRITES = [
    FaultKind.RATE_LIMITED,
    FaultKind.UNAVAILABLE,
    FaultKind.AUTH,
    FaultKind.QUOTA,
    FaultKind.CRASH_BEFORE,
    FaultKind.CRASH_AFTER,
    FaultKind.AMBIGUOUS_BEFORE,
    FaultKind.AMBIGUOUS_AFTER,
    FaultKind.DROPPED_RECEIPTS,
]

faults = st.lists(
    st.one_of(
        st.builds(Fault, st.sampled_from(READS), on=st.just("read_page"), calls=st.tuples(st.integers(1, 8))),
        st.builds(Fault, st.sampled_from(WRITES), on=st.just("write"), calls=st.tuples(st.integers(1, 8))),
        st.builds(
            Fault,
            st.sampled_from([FaultKind.AUTH, FaultKind.CRASH_BEFORE, FaultKind.UNAVAILABLE]),
            on=st.sampled_from(["lookup", "get", "ingest_status"]),
            calls=st.tuples(st.integers(1, 3)),
        ),
    ),
    max_size=4,
)


def is_special(record):
    """Whether the target is said not to hold all of it: by its text, so that a change may turn it round."""
    return zlib.crc32(record.content.encode()) % 2 == 0


def is_whole(record, prepared):
    return isinstance(prepared, Document) and not is_special(record)


class Migration(RuleBasedStateMachine):
    """A job that is begun, broken and resumed while its source goes on living."""

    make_job = None

    @initialize(
        client_key=st.sampled_from(EXACT),
        listing=st.sampled_from(["keyset", "offset"]),
        split=st.sampled_from(["none", "user"]),
        max_page=st.integers(1, 7),
        max_batch=st.integers(1, 7),
        listers=st.integers(1, 4),
        writers=st.integers(1, 4),
        budget=st.sampled_from([1, 1500, 2**20]),
        count=st.integers(0, 25),
        residue=st.sampled_from([None, "lossy", "full"]),
    )
    def begin(
        self, client_key, listing, split, max_page, max_batch, listers, writers, budget, count, residue
    ):
        self.job = Migration.make_job(
            residue=residue,
            is_whole=is_whole,
            client_key=client_key,
            source_config={"max_page": max_page, "listing": listing, "split_by": split},
            target_config={"max_batch": max_batch},
        )
        self.tuning = {"listers": listers, "writers": writers, "buffer_bytes": budget}
        self.number = 0
        self.ever = set()
        self.changed = set()
        self.late = set()
        self.is_shifted = False
        self.insert(count)

    @rule(count=st.integers(1, 6))
    def insert(self, count):
        done = self.done_partitions()
        self.is_shifted |= bool(done or self.job.path.exists())
        for _ in range(count):
            user = f"user-{self.number % 3}"
            self.job.seed(1, start=self.number, user=user)
            if done & {"all", f"user:{user}"}:
                self.late.add(f"r{self.number:04d}")
            self.number += 1
        self.ever.update(self.job.source_ids())

    @rule(seed=st.integers(0, 99))
    def delete(self, seed):
        ids = self.job.source_ids()
        if ids:
            self.is_shifted |= self.job.path.exists()
            self.job.source.remove(random.Random(seed).choice(ids))

    @rule(seed=st.integers(0, 99))
    def change(self, seed):
        rows = list(self.job.source.rows())
        if rows:
            row = random.Random(seed).choice(rows)
            self.changed.add(row.record.id)
            self.job.source.replace(row, msgspec.structs.replace(row.record, content=f"changed {seed}"))

    @rule(
        faults=faults,
        crash_at=st.integers(0, 12),
        durable=st.booleans(),
        sample=st.none() | st.integers(1, 9),
    )
    def run(self, faults, crash_at, durable, sample):
        reads = ("read_page", "get")
        self.go(
            source_faults=[fault for fault in faults if fault.on in reads],
            target_faults=[fault for fault in faults if fault.on not in reads],
            crash_at=crash_at,
            durable=durable,
            sample=sample,
        )

    def go(self, **options):
        run = asyncio.run(self.job.run(**options, **self.tuning))
        self.check_sound()
        return run

    # -- what must hold ---------------------------------------------------------------------------

    def check_sound(self):
        """At any moment: nothing twice, the counters are the rows, an end is never claimed in vain."""
        job = self.job
        job.check_counters()
        keys = Counter(job.target.keys)
        assert set(keys.values()) <= {1}, "stored twice"
        ids = [row[0] for row in job.rows()]
        if job.source_config["split_by"] == "none":
            assert len(ids) == len(set(ids)), "listed twice"
        assert set(ids) <= self.ever
        for record_id, state, _, key in job.rows():
            if state in ("stored", "present"):
                assert keys[key], f"{record_id} is said to be there"
            if state == "gone":
                assert not keys[key], f"{record_id} is said not to be there"
        if job.residue:
            self.check_originals(skipped=self.changed)

    def check_originals(self, *, skipped):
        """What is sent, or about to be, has its original; what is whole has none.

        True at any moment of records that never changed, and of all once the job has ended.
        """
        job = self.job
        originals = job.originals()
        now = {record.id: record for record in job.source.records}
        for record_id, name, digest in job.query(
            "SELECT r.id, p.name, r.hash FROM record r JOIN partition p ON p.id = r.partition "
            "WHERE r.hash IS NOT NULL"
        ):
            kept = originals.get((record_id, name))
            record = now.get(record_id)
            if record is not None and content_hash(record) == digest and record_id not in skipped:
                is_kept = job.residue == "full" or is_special(record)
                assert kept == (record if is_kept else None), f"{record_id}: its original"
            elif record_id not in self.changed and job.residue == "full":
                assert kept is not None, f"{record_id}: gone from the source, and its original lost"
        kept_ids = {record_id for record_id, _ in originals}
        for record in job.target.records:
            if job.residue == "full" or (is_special(record) and record.id not in self.changed):
                assert record.id in kept_ids, f"{record.id} came before its original"

    def teardown(self):
        if not hasattr(self, "job"):
            return
        job = self.job
        for _ in range(2):
            run = self.go()
            assert run.cause is None, run.control.reason
        rows = {row[0]: row[1] for row in job.rows()}
        vanished = set(run.engine.vanished)
        assert run.engine.aborted == {}
        assert "intent" not in rows.values()
        keys = set(job.target.keys)
        open_ones = {name for (name,) in job.query("SELECT name FROM partition WHERE NOT done")}
        assert open_ones == vanished
        assert all(name.startswith("user:") for name in vanished)
        self.check_nothing_is_lost(rows, keys)
        if job.residue and not vanished:
            self.check_originals(skipped=())

    def check_nothing_is_lost(self, rows, keys):
        job = self.job
        for record in job.source.records:
            state = rows.get(record.id)
            if state in ("stored", "present"):
                assert job.key(record.id) in keys
            elif state is None:
                # Only what came after its partition was listed to its end, or where positions moved.
                is_moved = job.source_config["listing"] == "offset" and self.is_shifted
                assert record.id in self.late or is_moved, f"{record.id} was lost"
            elif state == "failed":
                expected = {"conflict"} if record.id in self.changed else set()
                assert job.problem_of(record.id) in expected, f"{record.id} has failed for nothing"
            else:
                assert state in ("rejected", "uncertain"), (record.id, state)
                assert job.problem_of(record.id) == "unreadable", (record.id, state)

    def done_partitions(self):
        if not self.job.path.exists():
            return set()
        return {name for (name,) in self.job.query("SELECT name FROM partition WHERE done")}


def test_a_job_that_is_broken_again_and_again_ends_right(make_job):
    Migration.make_job = staticmethod(make_job)
    run_state_machine_as_test(
        Migration,
        settings=settings(
            max_examples=60,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=False,
            database=None,
        ),
    )
