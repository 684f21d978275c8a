"""How far a partition is safe: never past anything open, and no further back than need be."""

from memxfer.engine.listing import Listed
from memxfer.engine.watermark import PartitionWalk
from memxfer.ledger import Change, Doubts, InDoubt, PartitionRow, State
from memxfer.ledger.states import FILTERED, IGNORED, IGNORED_AS
from memxfer.models import MemoryRecord, Scope


def doubt(seq, record_id, state=State.INTENT, digest=b""):
    return InDoubt(seq, 1, record_id, "k", digest, state, 1)


def listed(record_id, content, *, user="ann"):
    return Listed.of(MemoryRecord(id=record_id, content=content, scope=Scope(user=user)))


def walk(*doubts):
    return PartitionWalk(PartitionRow(1, "all"), Doubts(doubts))


def page(partition, cursor, last_seq=0, *, outstanding=0, meets=()):
    partition.expect_page()
    ticket = partition.open_page(cursor)
    for record_id in meets:
        assert ticket.meet(record_id)
    ticket.last_seq = max(ticket.last_seq, last_seq)
    ticket.outstanding = outstanding
    ticket.is_sealed = True
    return ticket


def place(partition):
    return partition.row.cursor, partition.row.mark, partition.row.is_done


def test_it_passes_finished_pages_in_order_only():
    partition = walk()
    first = page(partition, "c1", 2, outstanding=1)
    page(partition, "c2", 4)
    assert partition.advance() is None
    assert place(partition) == (None, 0, False)
    first.outstanding = 0
    assert partition.advance() == {}
    assert place(partition) == ("c2", 4, False)
    page(partition, None, 6)
    partition.advance()
    assert place(partition) == (None, 6, True)


def test_an_unsealed_page_holds_it_up():
    partition = walk()
    ticket = page(partition, "c1", 2)
    ticket.is_sealed = False
    assert partition.advance() is None


def test_an_older_record_that_did_not_come_yet_stays_after_the_mark():
    partition = walk(doubt(3, "a"), doubt(5, "b"))
    page(partition, "c1", 9)
    partition.advance()
    assert place(partition) == ("c1", 2, False)


def test_an_older_record_under_way_stays_after_the_mark_until_its_page_has_passed():
    partition = walk(doubt(3, "a"))
    page(partition, "c1", 9)
    late = page(partition, "c2", meets=["a"], outstanding=1)
    partition.advance()
    assert place(partition) == ("c1", 2, False)
    late.outstanding = 0
    partition.advance()
    assert place(partition) == ("c2", 9, False)


def test_the_mark_never_goes_back():
    partition = walk(doubt(3, "a"), doubt(4, "b"))
    page(partition, "c1", 9, meets=["b"])
    partition.advance()
    assert partition.row.mark == 2
    page(partition, "c2", meets=["a"])
    partition.advance()
    assert partition.row.mark == 9


def test_a_record_is_met_once():
    partition = walk(doubt(3, "a"))
    ticket = page(partition, "c1", meets=["a"])
    assert ticket.meet("a") is None
    assert ticket.meet("new") is None


def test_after_a_restart_the_mark_stays_at_the_start_until_the_end():
    partition = walk()
    page(partition, "c1", 4)
    partition.advance()
    partition.restart(Doubts([doubt(2, "a", State.STORED)]))
    page(partition, "d1", 9, meets=["a"])
    partition.advance()
    assert place(partition) == ("d1", 0, False)
    page(partition, None, 12)
    partition.advance()
    assert partition.row.is_done


def test_going_back_takes_back_what_was_counted_on_the_way():
    partition = walk()
    ticket = page(partition, "c1", 4)
    ticket.counts.update({IGNORED: 2, FILTERED: 3})
    assert partition.advance() == {IGNORED: 2, FILTERED: 3}
    assert (partition.row.ignored, partition.row.filtered) == (2, 3)
    change = Change()
    partition.rewind(change)
    assert change.counts == {IGNORED: -2, FILTERED: -3}
    assert partition.row == PartitionRow(1, "all")


def ignoring(partition, cursor, **reasons):
    ticket = page(partition, cursor, 4)
    ticket.counts.update({IGNORED: sum(reasons.values())})
    ticket.counts.update({IGNORED_AS + reason: rows for reason, rows in reasons.items()})
    return partition.advance()


def test_going_back_takes_back_ignored_rows_by_reason():
    partition = walk()
    ignoring(partition, "c1", marker=2)
    assert ignoring(partition, "c2", marker=1, no_text=3) == {
        IGNORED: 4,
        "ignored/marker": 1,
        "ignored/no_text": 3,
    }
    assert partition.row.reasons == {"marker": 3, "no_text": 3}
    change = Change()
    partition.rewind(change)
    assert {name: n for name, n in change.counts.items() if n} == {
        IGNORED: -6,
        "ignored/marker": -3,
        "ignored/no_text": -3,
    }
    assert partition.row == PartitionRow(1, "all", reasons={})


def test_a_sweep_replaces_the_reasons_of_the_walk_before_it():
    row = PartitionRow(1, "all", is_done=True, ignored=5, reasons={"marker": 4, "no_text": 1})
    partition = PartitionWalk(row, Doubts(), kind="sweep")
    assert ignoring(partition, "c1", marker=2) is None
    change = ignoring(partition, None, ended=1)
    assert {name: n for name, n in change.items() if n} == {
        IGNORED: -2,
        "ignored/marker": -2,
        "ignored/no_text": -1,
        "ignored/ended": 1,
    }
    assert (row.ignored, row.reasons) == (3, {"marker": 2, "ended": 1})


def test_a_sweep_tells_the_reasons_of_rows_that_an_earlier_version_counted_without():
    row = PartitionRow(1, "all", is_done=True, ignored=2)
    assert ignoring(PartitionWalk(row, Doubts(), kind="sweep"), None, marker=2)["ignored/marker"] == 2
    assert (row.ignored, row.reasons) == (2, {"marker": 2})


def test_it_is_drained_when_nothing_is_under_way():
    partition = walk()
    assert partition.is_drained
    partition.expect_page()
    assert not partition.is_drained, "a page waits for its turn"
    ticket = partition.open_page("c1")
    assert not partition.is_drained, "a page is being taken"
    ticket.is_sealed, ticket.outstanding = True, 1
    assert not partition.is_drained
    ticket.outstanding = 0
    assert partition.is_drained
    ticket.is_sealed, ticket.is_cut = False, True
    assert partition.is_drained, "what a sample left out is not waited for"
    ticket.outstanding = 1
    assert not partition.is_drained


def test_of_several_rows_of_one_id_each_is_met_by_its_own_record_in_whatever_order():
    first, second = listed("a", "one"), listed("a", "two")
    partition = walk(doubt(3, "a", digest=first.hash), doubt(4, "a", digest=second.hash))
    ticket = page(partition, "c1")
    assert ticket.meet("a", second.hash).seq == 4
    assert ticket.meet("a", second.hash) is None
    assert ticket.meet("a", first.hash).seq == 3
    assert list(partition.in_doubt) == []


def test_an_edited_record_meets_its_older_form_and_never_another_owners():
    older = listed("a", "one")
    partition = walk(doubt(3, "a", digest=older.hash))
    ticket = page(partition, "c1")
    assert ticket.meet_older_form("a", listed("a", "edited", user="bob").hash) is None
    assert ticket.meet_older_form("a", listed("a", "edited").hash).seq == 3


def test_a_ledger_that_knows_content_alone_is_matched_by_it():
    record = listed("a", "one")
    partition = walk(doubt(3, "a", digest=record.hash[:16]))
    assert page(partition, "c1").meet("a", record.hash).seq == 3


def test_a_page_with_a_record_that_was_put_off_is_not_passed_and_a_restart_forgets_both():
    partition = walk(doubt(3, "a", digest=listed("a", "one").hash))
    ticket = page(partition, "c1", 9)
    assert partition.put_off(ticket, listed("a", "edited"))
    assert not partition.put_off(ticket, listed("a", "another", user="bob"))
    assert partition.advance() is None
    assert partition.is_drained
    partition.restart(Doubts())
    page(partition, "d1", 9)
    partition.advance()
    assert place(partition) == ("d1", 0, False)
    assert partition.take_late() == []


def test_no_more_is_put_off_than_fits_in_its_bound():
    partition = walk(*(doubt(n, f"r{n}", digest=listed(f"r{n}", "old").hash) for n in range(3)))
    ticket = page(partition, "c1")
    large = "x" * 2**20
    assert [partition.put_off(ticket, listed(f"r{n}", large)) for n in range(3)] == [True, False, False]
