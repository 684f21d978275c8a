import asyncio
import itertools
import json
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import pytest

from memxfer.archive import ArchiveReader, Origin, ResidueArchive
from memxfer.engine.control import RunControl
from memxfer.engine.engine import Engine
from memxfer.engine.pipeline import Pipeline
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.gaps import Agreement, End
from memxfer.ids import KeyTemplate
from memxfer.ledger import Ledger, State, create_ledger
from memxfer.ledger.states import RESIDUE_LINES
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ClientKey, Document, Role, Selection, StoreIdentity
from memxfer.testing import FaultyProvider, ManualClock, SimulatedCrashError
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

_numbers = itertools.count(1)


@pytest.fixture
def anyio_backend():
    return "asyncio"


def make_record(record_id, text=None, *, user="alice", **fields):
    return MemoryRecord(
        id=record_id, content=text or f"text of {record_id}", scope=Scope(user=user), **fields
    )


@dataclass
class Run:
    """One run that ended, and what it left."""

    engine: Engine
    control: RunControl
    ledger: Ledger
    source: FaultyProvider
    target: FaultyProvider
    clock: ManualClock
    crashed: bool = False
    unfinished: tuple[str, ...] = ()

    @property
    def cause(self):
        return self.control.cause


class CrashingLedger(Ledger):
    """Dies at its n-th commit, either with all that was queued lost or with all of it durable."""

    def __init__(self, path, *, crash_at, durable, residue=None):
        super().__init__(path, window=0.0, residue=residue)
        self.crash_at = crash_at
        self.durable = durable
        self.commits = 0

    def commit(self, change):
        self.commits += 1
        if self.commits < self.crash_at:
            return super().commit(change)
        if self.commits == self.crash_at and self.durable:
            super().commit(change).add_done_callback(lambda done: done.cancelled() or done.exception())
            self._committer.close()
        raise SimulatedCrashError


class Job:
    """A source, a target and a ledger file, run as often as a test likes.

    Every run gets new providers, a new ledger object and a new engine, as another process would.
    """

    settings = EngineSettings(listers=4, writers=4, linger=0.02, poll_first=0.01, buffer_bytes=2**20)

    def __init__(self, folder):
        self.name = f"job-{next(_numbers)}"
        self.path = folder / f"{self.name}.sqlite"
        create_ledger(self.path)
        self.source = MemoryStore.named(f"{self.name}-source")
        self.target = MemoryStore.named(f"{self.name}-target")
        self.client_key = ClientKey.UPSERT
        self.source_config = {"max_page": 10}
        self.target_config = {"max_batch": 5}
        self.source_class = MemoryReferenceProvider
        self.target_class = MemoryReferenceProvider
        self.document_id = "mx:{provider}:{namespace}:{id}"
        self.residue = None
        self.residue_path = folder / f"{self.name}-residue"
        self.accepted = None  # what a run may lose; `None`: nobody asks
        self.is_whole = lambda record, prepared: isinstance(prepared, Document) and not record.metadata

    def forget(self):
        MemoryStore.forget(self.source.name)
        MemoryStore.forget(self.target.name)

    def seed(self, count, *, start=0, user="alice"):
        self.source.seed(make_record(f"r{number:04d}", user=user) for number in range(start, start + count))

    def key(self, record_id):
        return f"mx:memory:{self.source.name}:{record_id}"

    # -- running ------------------------------------------------------------------------------

    def build(self, *, clock, source_faults=(), target_faults=(), hide_source=(), hide_target=(), seed=0):
        def provider(kind, store, config, faults, hidden):
            config = MemoryConfig(provider="memory", store=store.name, **config)
            return FaultyProvider(kind(config, clock=clock), faults, seed=seed, hidden=hidden)

        target_config = {"client_key": self.client_key, **self.target_config}
        return (
            provider(self.source_class, self.source, self.source_config, source_faults, hide_source),
            provider(self.target_class, self.target, target_config, target_faults, hide_target),
        )

    def open_residue(self, clock):
        origin = Origin(provider="memory", namespace=self.source.name)
        return ResidueArchive(self.residue_path, origin=origin, now=clock.now) if self.residue else None

    def originals(self):
        """What the residue holds: identities of lines (id, partition), each with its record."""
        found = [((item.record.id, item.partition), item) for item in self._archived()]
        assert len({name for name, _ in found}) == len(found), "an original is there twice"
        assert all(item.key == self.key(item.record.id) for _, item in found)
        return {name: item.record for name, item in found}

    def _archived(self):
        return ArchiveReader(self.residue_path).records() if self.residue_path.exists() else ()

    def prepare(self, source, target, *, clock, ledger, where=None, archive=None, **settings):
        control = RunControl(clock)
        template = KeyTemplate(self.document_id, provider="memory", namespace=self.source.name)
        agreement = None
        if self.accepted is not None:
            ends = [End("old", source.capabilities()), End("new", target.capabilities())]
            agreement = Agreement(
                *ends, accepted=frozenset(self.accepted), keeps_originals=True, now=clock.now()
            )
        pipeline = Pipeline(Selection.parse(where), template.key, lambda _: {}, target, agreement=agreement)
        engine = Engine(
            source,
            ledger=ledger,
            pipeline=pipeline,
            settings=replace(self.settings, **settings),
            control=control,
            clock=clock,
            residue=archive
            and Residue(
                archive,
                StoreIdentity("memory", self.source.name),
                mode=self.residue,
                is_whole=self.is_whole,
            ),
        )
        return Run(engine, control, ledger, source, target, clock)

    async def run(self, *, where=None, crash_at=0, durable=True, during=None, endpoints=None, **options):
        """Run once. `during(run)` is awaited beside the engine; the keywords of `build` are taken too."""
        names = ("source_faults", "target_faults", "hide_source", "hide_target", "seed")
        built = {name: options.pop(name) for name in names if name in options}
        clock = options.pop("clock", None) or ManualClock()
        source, target = endpoints or self.build(clock=clock, **built)
        archive = self.open_residue(clock)
        ledger = (
            CrashingLedger(self.path, crash_at=crash_at, durable=durable, residue=archive)
            if crash_at
            else Ledger(self.path, window=0.0, residue=archive)
        )
        if archive:
            archive.open(lines=ledger.counts()[RESIDUE_LINES])
        await source.connect(Role.SOURCE)
        await target.connect(Role.TARGET)
        await target.begin(StoreIdentity("memory", self.source.name))
        run = self.prepare(
            source, target, clock=clock, ledger=ledger, where=where, archive=archive, **options
        )
        beside = asyncio.create_task(during(run)) if during else None
        try:
            async with asyncio.timeout(8):
                await run.engine.run()
            run.unfinished = tuple(run.engine.unfinished())
        except BaseExceptionGroup as group:
            if group.split(SimulatedCrashError)[1] is not None:
                raise
            run.crashed = True
        except SimulatedCrashError:
            run.crashed = True
        finally:
            if beside:
                beside.cancel()
                with suppress(asyncio.CancelledError):
                    await beside
            if run.crashed:
                _lose(ledger)
            ledger.close()
            if archive:
                archive.close()
        if not run.crashed:
            budget = run.engine._budget
            assert budget.used == 0 or budget._is_closed, "bytes were held for good"
            self.check_counters()
        return run

    # -- looking ------------------------------------------------------------------------------

    def rows(self):
        """Ledger rows in order: id, state, sends, key."""
        return self.query("SELECT id, state, sends, key FROM record ORDER BY seq")

    def query(self, statement, *values):
        with closing(sqlite3.connect(self.path)) as ledger:
            return ledger.execute(statement, values).fetchall()

    def states(self):
        return Counter(dict(self.query("SELECT state, count(*) FROM record GROUP BY state")))

    def state_of(self, record_id):
        [(state,)] = self.query("SELECT state FROM record WHERE id = ?", record_id)
        return State(state)

    def problem_of(self, record_id):
        rows = self.query(
            "SELECT p.code FROM record r JOIN problem p ON p.seq = r.seq WHERE r.id = ?", record_id
        )
        return rows[0][0] if rows else None

    def counters(self):
        return Counter(dict(self.query("SELECT name, n FROM count")))

    def check_counters(self):
        """The counters must say what the rows say, at any moment."""
        counted = {name: n for name, n in self.counters().items() if name in set(State) and n}
        assert counted == dict(self.states())

    def source_ids(self):
        return [record.id for record in self.source.records]

    def check_complete(self):
        """Everything in the source is in the target, once, and the ledger knows each record once."""
        keys = Counter(self.target.keys)
        assert set(keys) >= {self.key(record_id) for record_id in self.source_ids()}
        assert set(keys.values()) <= {1}
        listed = Counter(row[0] for row in self.rows())
        assert set(listed.values()) <= {1}
        assert set(self.states()) <= {"stored", "present", "gone"}

    def target_ids(self, record_id):
        [(text,)] = self.query("SELECT target_ids FROM record WHERE id = ?", record_id)
        return json.loads(text) if text else []


def _lose(ledger):
    """Drop what was queued and not yet durable, as the kernel does with a dead process's memory."""
    while not ledger._committer._queue.empty():
        ledger._committer._queue.get_nowait()


@pytest.fixture
def make_job(tmp_path):
    jobs = []

    def make(**attributes):
        job = Job(tmp_path)
        jobs.append(job)
        for name, value in attributes.items():
            setattr(job, name, value)
        return job

    yield make
    for job in jobs:
        job.forget()


@pytest.fixture
def job(make_job):
    return make_job()


@pytest.fixture
def record():
    return make_record
