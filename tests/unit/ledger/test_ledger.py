"""What a job knows, across ledger objects, and across everything that can befall its file."""

import asyncio
import os
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from memxfer.errors import LedgerError
from memxfer.ledger import Change, Ledger, Problem, State, inspect
from memxfer.ledger.committer import Committer, connect
from memxfer.ledger.states import FILTERED, RESENT

pytestmark = pytest.mark.anyio


def query(path, statement):
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


def ids(doubts):
    return {one.id for one in doubts}


async def test_what_was_committed_is_there_for_the_next_ledger_object(path, fill, now):
    first = Ledger(path)
    row = await fill(first, 4, at=now)
    change = Change()
    first.set_meta(change, "job", "j1")
    row.cursor, row.mark, row.is_done, row.ignored, row.filtered = "c1", 2, False, 3, 4
    first.advance(change, row)
    await first.commit(change)
    first.close()

    second = Ledger(path)
    try:
        assert second.partitions() == {"all": row}
        assert second.meta("job") == "j1"
        assert second.meta("nothing") is None
        assert second.counts()[State.STORED] == 2
        assert second.counts()[State.INTENT] == 2
        assert second.reserve() == 5
        assert second.add_partition(Change(), "other").id == row.id + 1
        assert ids(second.after_watermarks()[row.id]) == {"r2", "r3"}
        assert ids(second.all_of(row.id)) == {"r0", "r1", "r2", "r3"}
    finally:
        second.close()


async def test_records_of_a_partition_that_is_done_are_not_loaded(ledger, fill, now):
    done = await fill(ledger, 4, at=now)
    half = await fill(ledger, 4, at=now, name="half")
    done.is_done = True
    change = Change()
    ledger.advance(change, done)
    await ledger.commit(change)
    assert set(ledger.after_watermarks()) == {half.id}
    half.is_done = True
    change = Change()
    ledger.advance(change, half)
    await ledger.commit(change)
    assert ledger.after_watermarks() == {}


async def test_closing_makes_what_is_queued_durable_and_may_be_repeated(path, fill, now):
    ledger = Ledger(path, window=10.0)
    pending = asyncio.ensure_future(fill(ledger, 100, at=now))
    await asyncio.sleep(0)
    ledger.close()
    ledger.close()
    await pending
    assert query(path, "SELECT count(*) FROM record") == [(100,)]
    assert not path.with_name(path.name + "-wal").exists()


async def test_a_change_after_the_close_fails_instead_of_waiting_for_ever(path, fill, now):
    ledger = Ledger(path)
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.commit(Change())


async def test_an_intent_taken_back_leaves_no_row_and_no_count(ledger, fill, now, path):
    row = await fill(ledger, 2, at=now)
    [doubt] = ids(ledger.after_watermarks()[row.id]) - {"r0"}
    change = Change()
    ledger.note(change, 2, Problem("nul_replaced", "sent with changes"), at=now)
    await ledger.commit(change)
    change = Change()
    ledger.unsend(change, 2, 1)
    await ledger.commit(change)
    assert doubt == "r1"
    assert query(path, "SELECT id FROM record") == [("r0",)]
    assert query(path, "SELECT * FROM problem") == []
    assert ledger.counts()[State.INTENT] == 0


async def test_sends_are_counted_per_form_of_the_document(ledger, fill, now, path):
    row = await fill(ledger, 2, at=now)
    [doubt] = [one for one in ledger.after_watermarks()[row.id] if one.id == "r1"]
    change = Change()
    assert ledger.intend_again(change, doubt, doubt.key, doubt.hash) == 2
    assert ledger.send_again(change, doubt.seq, 2) == 3
    ledger.unsend(change, doubt.seq, 3)
    await ledger.commit(change)
    assert query(path, "SELECT sends, state FROM record WHERE seq = 2") == [(2, "intent")]
    assert ledger.counts()[RESENT] == 1
    change = Change()
    ledger.unsend(change, doubt.seq, 2)
    await ledger.commit(change)
    assert ledger.counts()[RESENT] == 0


@pytest.mark.parametrize(("key", "digest"), [("k1", b"other"), ("other", b"h" * 16)])
async def test_a_document_in_another_form_begins_anew_and_can_be_put_back(
    ledger, fill, now, path, key, digest
):
    row = await fill(ledger, 2, at=now)
    [doubt] = [one for one in ledger.after_watermarks()[row.id] if one.id == "r1"]
    change = Change()
    assert ledger.intend_again(change, doubt, key, digest) == 1
    await ledger.commit(change)
    assert query(path, "SELECT key, hash, sends FROM record WHERE seq = 2") == [(key, digest, 1)]
    change = Change()
    ledger.restore(change, doubt)
    await ledger.commit(change)
    assert doubt in list(ledger.after_watermarks()[row.id])
    assert ledger.counts()[RESENT] == 0


async def test_a_problem_is_kept_until_it_does_not_hold_any_more(ledger, fill, now, path):
    await fill(ledger, 2, at=now)
    change = Change()
    ledger.note(change, 1, Problem("uncertain", "bad \ud800 text", "req-1"), at=now)
    ledger.note(change, 2, Problem("partial", "half"), at=now)
    await ledger.commit(change)
    assert ledger.problems("uncertain") == 1
    assert query(path, "SELECT reason, correlation_id FROM problem WHERE seq = 1") == [
        ("bad \\ud800 text", "req-1")
    ]
    change = Change()
    ledger.forget_problem(change, 1, "uncertain")
    ledger.forget_problem(change, 2, "uncertain")
    await ledger.commit(change)
    assert query(path, "SELECT code FROM problem") == [("partial",)]


async def test_the_request_that_settled_a_record_stays_with_it(ledger, fill, now, path):
    await fill(ledger, 2, at=now)
    change = Change()
    number = ledger.request(change, 1, "req-7", at=now)
    ledger.settle(change, 2, State.INTENT, State.ACCEPTED, at=now, ingestion_id="i", request=number)
    ledger.settle(change, 2, State.ACCEPTED, State.STORED, at=now, ingestion_id="i", target_ids=["a", "b"])
    await ledger.commit(change)
    assert query(path, "SELECT state, request, target_ids FROM record WHERE seq = 2") == [
        ("stored", number, '["a", "b"]')
    ]
    assert query(path, "SELECT documents, correlation_id FROM request") == [(1, "req-7")]


async def test_accepted_records_come_in_order_and_in_portions(ledger, fill, now):
    await fill(ledger, 6, at=now)
    change = Change()
    for seq in (4, 5, 6):
        ledger.settle(change, seq, State.INTENT, State.ACCEPTED, at=now, ingestion_id=f"i{seq}")
    await ledger.commit(change)
    assert [row.seq for row in ledger.accepted(0, 2)] == [4, 5]
    assert [(row.seq, row.id, row.ingestion_id) for row in ledger.accepted(5, 2)] == [(6, "r5", "i6")]


async def test_only_different_records_that_arrived_under_one_key_are_twins(ledger, now):
    change = Change()
    row = ledger.add_partition(change, "all")

    def put(record_id, key, state, digest=b"h", request=None):
        seq = ledger.reserve()
        ledger.intend(change, seq, partition=row.id, record_id=record_id, key=key, digest=digest)
        ledger.settle(change, seq, State.INTENT, state, at=now, request=request, target_ids=[f"t{seq}"])
        return seq

    a, b = put("a", "k", State.STORED, request=2), put("b", "k", State.PRESENT, request=1)
    put("c", "k", State.FAILED)
    put("d", "same", State.STORED)
    put("d", "same", State.PRESENT)
    put("e", "lone", State.STORED)
    put("f", "lone", State.UNCERTAIN)
    g, h = put("g", "two", State.STORED, b"1"), put("g", "two", State.STORED, b"2")
    await ledger.commit(change)
    found = [[(one.seq, one.state, one.target_ids) for one in twins] for twins in ledger.twins()]
    assert found == [
        [(b, State.PRESENT, (f"t{b}",)), (a, State.STORED, (f"t{a}",))],
        [(g, State.STORED, (f"t{g}",)), (h, State.STORED, (f"t{h}",))],
    ]
    named = ledger.namesakes(["lone", "nobody"])
    assert [one.state for one in named["lone"]] == [State.STORED, State.UNCERTAIN]
    assert named["nobody"] == []


async def test_runs_and_plans_form_a_chain(ledger, now, path):
    change = Change()
    ledger.add_plan(change, "f1", "{}", at=now)
    ledger.add_plan(change, "f2", "{}", at=now)
    assert ledger.start_run(change, at=now) == 1
    await ledger.commit(change)
    assert query(path, "SELECT revision, fingerprint FROM plan") == [(1, "f1"), (2, "f2")]
    change = Change()
    ledger.end_run(change, 1, at=now, status="paused", seconds=1.5, records=7, cause="auth")
    assert ledger.start_run(change, at=now) == 2
    await ledger.commit(change)
    assert inspect.runs(path) == inspect.Runs(None, 1.5, 7, "")
    change = Change()
    ledger.end_run(change, 2, at=now, status="completed", seconds=0.5, records=3, cause="")
    await ledger.commit(change)
    assert inspect.runs(path) == inspect.Runs("completed", 2.0, 10, "")


# -- group commit -------------------------------------------------------------------------------


async def test_changes_become_durable_in_order_and_each_waiter_hears_of_its_own(path):
    ledger = Ledger(path, window=0.002)
    done = []

    def change(number):
        made = Change()
        ledger.set_meta(made, "last", str(number))
        made.counts["n"] += 1
        return made

    async def one(number):
        await ledger.commit(change(number))
        done.append(number)
        assert int(ledger.meta("last")) >= number
        assert ledger.counts()["n"] >= number + 1

    await asyncio.gather(*(one(number) for number in range(200)))
    assert done == sorted(done)
    assert ledger.counts()["n"] == 200
    ledger.close()


async def test_changes_of_one_moment_share_a_commit(path):
    ledger = Ledger(path, window=0.05)
    commits = []
    apply = ledger._committer._apply
    ledger._committer._apply = lambda changes: (commits.append(len(changes)), apply(changes))
    await asyncio.gather(*(ledger.commit(counted(ledger)) for _ in range(50)))
    ledger.close()
    assert sum(commits) == 50
    assert len(commits) <= 3


def counted(ledger):
    change = Change()
    ledger.set_meta(change, "a", "b")
    return change


async def test_a_huge_group_is_cut(path):
    ledger = Ledger(path, window=5.0)
    change = Change()
    change.add("INSERT OR REPLACE INTO meta VALUES (?, ?)", *((str(n), "") for n in range(20_000)))
    await asyncio.wait_for(ledger.commit(change), 4.0)  # not held back to wait for company
    ledger.close()


def test_rows_of_one_statement_are_bound_together():
    statement, other = "INSERT INTO a VALUES (?)", "INSERT INTO b VALUES (?)"
    change = Change()
    assert change.is_empty()
    change.add(statement, (1,))
    change.add(statement, (2,), (3,))
    change.add(other)
    change.add(other, (4,))
    change.add(statement, (5,))
    assert change.statements == [(statement, [(1,), (2,), (3,)]), (other, [(4,)]), (statement, [(5,)])]
    assert not change.is_empty()
    assert not Change(counts=Counter(a=1)).is_empty()


@pytest.mark.parametrize(
    "statement",
    [
        ("INSERT INTO nowhere VALUES (?)", (1,)),
        ("INSERT INTO meta VALUES (?, ?)", ("\ud800", "x")),
        ("INSERT INTO meta VALUES (?, ?)", (2**70, "x")),
    ],
)
async def test_whatever_fails_is_heard_of_by_all_and_nothing_of_its_group_stays(path, statement):
    ledger = Ledger(path, window=0.05)
    good, bad = Change(), Change()
    ledger.set_meta(good, "good", "1")
    bad.add(*statement)
    results = await asyncio.gather(ledger.commit(good), ledger.commit(bad), return_exceptions=True)
    assert [type(result) for result in results] == [LedgerError, LedgerError]
    assert ledger.meta("good") is None
    later = Change()
    ledger.set_meta(later, "later", "1")
    with pytest.raises(LedgerError, match="resume the job"):
        await ledger.commit(later)
    ledger.close()
    assert query(path, "SELECT * FROM meta") == []


async def test_what_was_queued_behind_a_failure_is_not_written_either(path):
    ledger = Ledger(path, window=0.0)
    bad, good = Change(), Change()
    bad.add("INSERT INTO nowhere VALUES (?)", *((number,) for number in range(20_000)))  # a group of its own
    ledger.set_meta(good, "good", "1")
    results = await asyncio.gather(ledger.commit(bad), ledger.commit(good), return_exceptions=True)
    assert [type(result) for result in results] == [LedgerError, LedgerError]
    ledger.close()
    assert query(path, "SELECT * FROM meta") == []


async def test_a_waiter_that_has_gone_is_no_harm(path):
    ledger = Ledger(path, window=0.0)
    waiting = ledger.commit(counted(ledger))
    waiting.cancel()
    await ledger.commit(counted(ledger))
    ledger.close()
    assert query(path, "SELECT name FROM meta") == [("a",)]


def test_a_loop_that_has_ended_is_no_harm(path):
    ledger = Ledger(path, window=0.2)

    async def submit():
        ledger.commit(counted(ledger))

    asyncio.run(submit())
    ledger.close()
    assert query(path, "SELECT name FROM meta") == [("a",)]


async def test_no_room_to_fold_the_log_in_loses_nothing(path):
    ledger = Ledger(path, window=0.0)
    await ledger.commit(counted(ledger))
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM meta").fetchall()
        ledger._committer._connection.execute("PRAGMA busy_timeout = 0")
        ledger.close()
    assert query(path, "SELECT name FROM meta") == [("a",)]


# -- files --------------------------------------------------------------------------------------


async def test_another_format_is_refused_by_name(path):
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
    for use in (lambda: Ledger(path), lambda: inspect.counts(path)):
        with pytest.raises(LedgerError, match=r"format 99.*format 1"):
            use()


async def test_a_file_that_is_no_ledger_is_a_ledger_error(path):
    path.write_bytes(b"this is no database, but it is long enough to be one" * 100)
    with pytest.raises(LedgerError):
        Ledger(path)
    with pytest.raises(LedgerError):
        inspect.counts(path)
    with pytest.raises(LedgerError):
        list(inspect.problems(path))


async def test_a_ledger_that_breaks_while_open_is_a_ledger_error(path, fill, now):
    ledger = Ledger(path)
    await fill(ledger, 2, at=now)
    ledger._readers.own().execute("PRAGMA query_only = 0")
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE count")
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.counts()
    ledger.close()


async def test_a_folder_that_is_none_is_a_ledger_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_read_only_folder_is_a_ledger_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(LedgerError):
        Ledger(folder / "ledger.sqlite")


async def test_what_is_acknowledged_survives_a_power_cut(ledger):
    connection = ledger._committer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_thread_ends_with_the_ledger(path):
    committer = Committer(path)
    thread = committer._thread
    committer.close()
    assert not thread.is_alive()
    with pytest.raises(sqlite3.ProgrammingError):
        committer._connection.execute("SELECT 1")


def test_reading_creates_no_file(path):
    path.unlink()
    with pytest.raises(LedgerError):
        connect(path, read_only=True)
    with pytest.raises(LedgerError, match="no ledger"):
        inspect.runs(path)
    assert not path.exists()


async def test_a_full_disk_is_told_and_what_was_acknowledged_stays(path, python):
    """A real one, as far as a process can make it: no file may grow beyond a bound."""
    code = """
        import asyncio, resource, signal, sys
        from pathlib import Path
        from memxfer.errors import LedgerError
        from memxfer.ledger import Change, Ledger
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        async def main():
            ledger = Ledger(Path(sys.argv[1]), window=0.0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
            for number in range(10_000):
                change = Change()
                ledger.set_meta(change, f"n{number}", "x" * 500)
                try:
                    await ledger.commit(change)
                except LedgerError as error:
                    print(number, error, flush=True)
                    ledger.close()
                    return
        asyncio.run(main())
    """
    with python(code, path) as process:
        told = process.stdout.read()
    number, text = told.split(" ", 1)
    assert int(number) > 10
    assert "free some space" in text
    assert query(path, "SELECT count(*) FROM meta")[0][0] == int(number)


@pytest.mark.parametrize("lines", [1, 7, 40])
async def test_a_writer_killed_in_mid_commit_keeps_what_it_acknowledged(path, python, lines, now):
    code = """
        import asyncio, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from memxfer.ledger import Change, Ledger, State
        async def main():
            ledger = Ledger(Path(sys.argv[1]), window=0.001)
            first = Change()
            row = ledger.add_partition(first, "all")
            await ledger.commit(first)
            async def work(lane):
                for number in range(10**6):
                    change = Change()
                    seq = ledger.reserve()
                    name = f"{lane}-{number}"
                    ledger.intend(change, seq, partition=row.id, record_id=name, key=name, digest=b"")
                    await ledger.commit(change)
                    print(name, flush=True)
            await asyncio.gather(*(work(lane) for lane in range(4)))
        asyncio.run(main())
    """
    with python(code, path) as process:
        told = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split("\n")[:-1]
    ledger = Ledger(path)
    try:
        there = ids(ledger.all_of(1))
        assert set(told) <= there
        assert ledger.counts()[State.INTENT] == len(there)
        assert len(there) - len(set(told)) <= 4 * 2
    finally:
        ledger.close()


# -- looking from outside -----------------------------------------------------------------------


async def test_problems_are_listed_in_order_and_an_open_decision_is_called_uncertain(ledger, fill, now, path):
    await fill(ledger, 6, at=now)
    change = Change()
    ledger.settle(change, 4, State.INTENT, State.FAILED, at=now, problem=Problem("invalid", "no", "req-1"))
    ledger.note(change, 5, Problem("uncertain", "nobody knows"), at=now)
    ledger.note(change, 1, Problem("partial", "half"), at=now)
    change.counts[FILTERED] += 2
    await ledger.commit(change)
    rows = [(row.id, row.key, row.state, row.code, row.correlation_id) for row in inspect.problems(path)]
    assert rows == [
        ("r0", "k0", "stored", "partial", None),
        ("r3", "k3", "failed", "invalid", "req-1"),
        ("r4", "k4", "uncertain", "uncertain", None),
    ]
    assert inspect.problem_count(path, "partial") == 1
    assert inspect.counts(path)[FILTERED] == 2


async def test_a_copy_of_the_file_alone_can_be_read(path, fill, now, tmp_path):
    ledger = Ledger(path)
    await fill(ledger, 4, at=now)
    ledger.close()
    copy = tmp_path / "elsewhere" / "copy.sqlite"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    assert inspect.counts(copy)[State.STORED] == 2


async def test_threads_that_ask_at_once_each_get_their_own_answer(ledger, fill, now):
    await fill(ledger, 400, at=now)

    def asked(start):
        wrong = []
        for turn in range(40):
            keys = [f"k{(start + turn * 7 + more) % 400}" for more in range(3)]
            found = ledger.namesakes(keys)
            wrong += [key for key in keys if [one.form[0] for one in found[key]] != [f"r{key[1:]}"]]
        return wrong

    answers = await asyncio.gather(*(asyncio.to_thread(asked, start) for start in range(0, 400, 50)))
    assert not any(answers)


async def test_a_ledger_that_is_closed_is_not_opened_again_by_another_thread(path):
    ledger = Ledger(path)
    ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        await asyncio.to_thread(ledger.counts)
