import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.spi import Document, Outcome
from memxfer_synap.client import BatchAnswer, Row
from memxfer_synap.receipts import receipts_of


def batch(*keys):
    return [Document(key=key, record_id=key, body=None, size=0, scope="user") for key in keys]


def accepted(key, handle=None):
    return Row(key, handle or f"h-{key}", "queued", "")


def failed(key, message="invalid field"):
    return Row(key, "refused", "failed", message)


def outcomes(keys, rows):
    found = receipts_of(batch(*keys), BatchAnswer(tuple(rows), "c1"))
    assert all(receipt.correlation_id == "c1" for receipt in found)
    return [(receipt.outcome, receipt.error.code if receipt.error else None) for receipt in found]


PENDING = (Outcome.PENDING, None)
NO_ROW = (Outcome.UNKNOWN, "no_row")
REJECTED = (Outcome.REJECTED, "rejected")
SHARED = (Outcome.UNKNOWN, "shared_handle")
DUPLICATE = (Outcome.REJECTED, "duplicate")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([accepted("a"), accepted("b")], [PENDING, PENDING]),
        ([accepted("b"), failed("a")], [REJECTED, PENDING]),
        ([accepted("a")], [PENDING, NO_ROW]),
        ([], [NO_ROW, NO_ROW]),
        ([accepted("a"), accepted("b"), accepted("stranger")], [PENDING, PENDING]),
        ([failed("a"), accepted("a"), accepted("b")], [PENDING, PENDING]),
        ([accepted("a"), failed("a"), accepted("b")], [PENDING, PENDING]),
        ([failed("a", "Document already exists"), accepted("b")], [DUPLICATE, PENDING]),
        ([failed("a", "duplicate_key"), accepted("b")], [DUPLICATE, PENDING]),
        ([failed(None), accepted("b")], [REJECTED, PENDING]),
        ([failed(None), failed(None)], [REJECTED, REJECTED]),
        ([failed(None), failed(None, "already exists")], [NO_ROW, NO_ROW]),
        ([failed(None)], [NO_ROW, NO_ROW]),
        ([accepted(None), accepted("b")], [NO_ROW, PENDING]),
        ([Row("a", None, "failed", "bad"), accepted("b")], [REJECTED, PENDING]),
        ([Row("a", None, "queued", ""), accepted("b")], [(Outcome.UNKNOWN, "no_handle"), PENDING]),
        ([Row("a", "h", "completed", ""), Row("b", "h2", "new word", "")], [PENDING, PENDING]),
        ([accepted("a", "same"), accepted("b", "same")], [SHARED, SHARED]),
        ([accepted("a", "same"), accepted("a", "same"), accepted("b")], [PENDING, PENDING]),
        ([accepted("a", "same"), failed("b", "odd"), accepted("c", "same")], [PENDING, REJECTED]),
        ([Row("a", "", "queued", ""), accepted("b")], [(Outcome.UNKNOWN, "no_handle"), PENDING]),
        ([Row("a", "h", "FAILED", "bad"), accepted("b")], [REJECTED, PENDING]),
        ([Row("a", "h", "rejected", ""), accepted("b")], [REJECTED, PENDING]),
        ([Row("a", None, "odd word", "no room"), accepted("b")], [REJECTED, PENDING]),
        ([Row("a", None, "", None), accepted("b")], [(Outcome.UNKNOWN, "no_handle"), PENDING]),
    ],
)
def test_every_document_gets_the_receipt_that_the_rows_prove(rows, expected):
    assert outcomes(["a", "b"], rows) == expected


@given(
    st.lists(
        st.builds(
            Row,
            st.sampled_from([None, "a", "b", "c", "x"]),
            st.sampled_from([None, "h1", "h2"]),
            st.sampled_from(["queued", "failed", "completed", ""]),
            st.sampled_from(["", "already exists", "invalid"]),
        ),
        max_size=6,
    )
)
def test_nothing_is_pending_without_an_accepted_row_and_nothing_rejected_that_was_accepted(rows):
    found = outcomes(["a", "b", "c"], rows)
    assert len(found) == 3
    for key, (outcome, _) in zip("abc", found, strict=True):
        handles = [
            row.ingestion_id
            for row in rows
            if row.document_id == key and row.ingestion_id and row.status != "failed"
        ]
        if outcome is Outcome.PENDING:
            assert handles
        assert (outcome is Outcome.REJECTED) <= (not handles)


def test_the_reason_is_kept_and_the_memory_is_not():
    rows = (failed("a", "document 'Zanzibar 4711' exceeds the limit"),)
    [receipt] = receipts_of(batch("a"), BatchAnswer(rows, "c1"))
    assert "exceeds the limit" in str(receipt.error)
    assert "Zanzibar" not in str(receipt.error)
    assert "4711" not in str(receipt.error)
