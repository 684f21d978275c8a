from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models import NUL_SIGN
from memxfer.spi import Document, MemoryRecord, Message, RecordError, Refused, Scope, Skipped
from memxfer_synap import SynapConfig
from memxfer_synap.client import SynapDocument
from memxfer_synap.emulator.documents import DOCUMENT_DECODER, DocumentError, accept
from memxfer_synap.emulator.settings import SynapKey, SynapSettings, caller_of
from memxfer_synap.mapping import Owner, document_of, owner_of, text_of

JAN = datetime(2025, 1, 1, tzinfo=UTC)
FEB = datetime(2025, 2, 1, 12, 0, 0, 250000, tzinfo=UTC)
MAR = datetime(2025, 3, 1, tzinfo=UTC)


def config(**settings):
    return SynapConfig(**{"provider": "synap", "api_key": "k", "customer_id": "acme", **settings})


def prepare(record, envelope=None, *, is_b2c=False, **settings):
    return document_of(record, "mx:1", envelope or {}, config=config(**settings), is_b2c=is_b2c)


def sent(document):
    return msgspec.json.decode(document.body, type=SynapDocument)


def own(**fields):
    defaults = {"id": "m1", "content": "Ann likes tea.", "scope": Scope(user="ann"), "created_at": JAN}
    return MemoryRecord(**{**defaults, **fields})


# -- scopes -------------------------------------------------------------------------------------

NOBODY = Scope(agent="bot", session="s1")


@pytest.mark.parametrize(
    ("scope", "settings", "expected"),
    [
        (Scope(user="ann"), {}, Owner("user", "ann", "acme")),
        (Scope(user="ann", tenant="corp"), {}, Owner("user", "ann", "corp")),
        (Scope(user="ann", tenant="corp"), {"customer_id": None}, Owner("user", "ann", "corp")),
        (Scope(user="ann", agent="bot"), {}, Owner("user", "ann", "acme")),
        (Scope(tenant="corp"), {}, Owner("customer", None, "corp")),
        (NOBODY, {"unscoped": "skip"}, Skipped("unscoped")),
        (NOBODY, {"unscoped": "customer"}, Owner("customer", None, "acme")),
        (NOBODY, {"unscoped": "client"}, Owner("client")),
        (NOBODY, {"unscoped": "assign:bob"}, Owner("user", "bob", "acme")),
        (Scope(tenant="corp", agent="bot"), {"unscoped": "customer"}, Owner("customer", None, "corp")),
        (Scope(tenant="corp", agent="bot"), {"unscoped": "client"}, Owner("customer", None, "corp")),
        (Scope(tenant="corp", agent="bot"), {"unscoped": "assign:bob"}, Owner("user", "bob", "corp")),
        (Scope(), {"unscoped": "client"}, Owner("client")),
    ],
)
def test_a_b2b_instance_gets_the_owner_the_scope_names_or_the_decision_gives(scope, settings, expected):
    assert owner_of(scope, config=config(**settings), is_b2c=False) == expected


@pytest.mark.parametrize(
    ("scope", "settings", "expected"),
    [
        (Scope(user="ann"), {}, Owner("user", "ann", None)),
        (Scope(user="ann", tenant="corp"), {}, Owner("user", "ann", None)),
        (NOBODY, {"unscoped": "skip"}, Skipped("unscoped")),
        (Scope(tenant="corp"), {"unscoped": "client"}, Owner("client")),
        (Scope(tenant="corp"), {"unscoped": "assign:bob"}, Owner("user", "bob", None)),
    ],
)
def test_a_b2c_instance_never_gets_a_customer(scope, settings, expected):
    settings = {"customer_id": None, **settings}
    assert owner_of(scope, config=config(**settings), is_b2c=True) == expected


@pytest.mark.parametrize("is_b2c", [False, True])
@pytest.mark.parametrize(
    "scope",
    [
        Scope(),
        NOBODY,
        Scope(user=""),
        Scope(group="team"),
        Scope(tenant="corp", agent="bot"),
        Scope(extra={"x": "y"}),
    ],
    ids=str,
)
def test_a_record_without_a_user_waits_for_a_decision(scope, is_b2c):
    found = prepare(own(scope=scope), is_b2c=is_b2c)
    assert isinstance(found, Refused)
    assert found.error.code == "unscoped"
    assert 'unscoped = "skip"' in found.remedies
    assert 'unscoped = "assign:USER"' in found.remedies


@pytest.mark.parametrize("settings", [{}, {"unscoped": "skip"}])
def test_a_b2b_user_without_any_customer_waits_for_a_decision(settings):
    found = prepare(own(), customer_id=None, **settings)
    assert (found.error.code, found.remedies) == ("no_customer", ('customer_id = "NAME"',))


def test_customer_scope_without_any_customer_waits_for_a_decision():
    assert prepare(own(scope=NOBODY), customer_id=None, unscoped="customer").error.code == "no_customer"


@given(
    user=st.sampled_from([None, "", "ann"]),
    tenant=st.sampled_from([None, "", "corp"]),
    agent=st.sampled_from([None, "bot"]),
    is_b2c=st.booleans(),
    customer=st.sampled_from([None, "acme"]),
    unscoped=st.sampled_from([None, "skip", "customer", "client", "assign:bob"]),
)
def test_client_scope_is_reached_by_decision_alone_and_the_server_takes_what_is_sent(
    user, tenant, agent, is_b2c, customer, unscoped
):
    if is_b2c and (customer or unscoped == "customer"):
        return  # refused when connecting
    record = own(scope=Scope(user=user, tenant=tenant, agent=agent))
    found = prepare(record, is_b2c=is_b2c, customer_id=customer, unscoped=unscoped)
    if not isinstance(found, Document):
        return
    assert (found.scope == "client") <= (unscoped == "client" and not user)
    raw = found.body
    accepted = accept(caller(is_b2c), SynapSettings(), DOCUMENT_DECODER.decode(raw), raw)
    assert accepted.owner.level == found.scope
    if user:
        assert accepted.owner.user_id == user


def caller(is_b2c):
    return caller_of(SynapKey(key="k"), "equals_customer" if is_b2c else "strict")


@pytest.mark.parametrize("scope", [Scope(user="a\x00b"), Scope(user="a", tenant="t\x00")])
def test_an_id_with_nul_is_refused_because_another_id_would_be_somebody_else(scope):
    found = prepare(own(scope=scope))
    assert (found.error.code, found.remedies) == ("nul_in_id", ())


# -- dates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({"occurred_at": FEB, "created_at": JAN, "updated_at": MAR}, "2025-02-01T12:00:00.250000Z"),
        ({"created_at": JAN, "updated_at": MAR}, "2025-01-01T00:00:00Z"),
        ({"created_at": None, "updated_at": MAR}, "2025-03-01T00:00:00Z"),
        (
            {"created_at": None, "messages": (Message(role="user", content="b", at=MAR),)},
            "2025-03-01T00:00:00Z",
        ),
    ],
)
def test_the_document_has_the_record_s_own_date(dates, expected):
    assert sent(prepare(own(**dates))).document_created_at == expected


def test_a_record_without_a_date_waits_for_a_decision_and_is_never_stamped():
    undated = own(created_at=None)
    assert prepare(undated).error.code == "undated"
    assert prepare(undated).remedies == ('undated = "skip"', 'undated = "send"')
    assert prepare(undated, undated="skip") == Skipped("undated")
    assert sent(prepare(undated, undated="send")).document_created_at is None
    assert "original_created_at" not in sent(prepare(undated, undated="send")).metadata


def test_the_original_creation_stays_readable_beside_another_date():
    assert sent(prepare(own(occurred_at=FEB))).metadata["original_created_at"] == "2025-01-01T00:00:00Z"


# -- text ---------------------------------------------------------------------------------------

TURNS = (Message(role="user", content="Tea?"), Message(role="assistant", content="Yes, tea."))


def test_turns_become_labelled_lines_of_a_conversation():
    body = sent(prepare(own(messages=TURNS, content="", kind="conversation")))
    assert body.document == "User: Tea?\nAssistant: Yes, tea."
    assert body.document_type == "ai-chat-conversation"


def test_content_that_renders_the_turns_is_not_sent_twice():
    assert text_of(own(messages=TURNS, content="u: Tea?\na: Yes, tea.")) == (
        "User: Tea?\nAssistant: Yes, tea."
    )


def test_content_that_says_more_than_the_turns_is_kept():
    text = text_of(own(messages=TURNS, content="A talk about drinks."))
    assert text == "A talk about drinks.\n\nUser: Tea?\nAssistant: Yes, tea."


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("fact", {}, "document"),
        ("document", {}, "document"),
        ("conversation", {}, "ai-chat-conversation"),
        ("message", {}, "ai-chat-conversation"),
        ("fact", {"document_type": "email"}, "email"),
    ],
)
def test_the_document_type_follows_the_record_unless_it_is_set(kind, settings, expected):
    assert sent(prepare(own(kind=kind), **settings)).document_type == expected


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_record_can_never_be_stored(text):
    found = prepare(own(content=text))
    assert (found.error.code, found.remedies) == ("empty", ())


def test_a_text_over_the_limit_waits_for_a_decision():
    big = own(content="é" * 51)
    found = prepare(big, document_bytes=101)
    assert found.error.code == "too_large"
    assert found.remedies == ('oversize = "skip"', "document_bytes = 102")
    assert prepare(big, document_bytes=101, oversize="skip") == Skipped("oversize")
    assert isinstance(prepare(big, document_bytes=102), Document)
    assert "é" not in str(found.error)


def test_metadata_over_the_limit_waits_for_a_decision():
    big = own(metadata={"k": "v" * 200})
    found = prepare(big, metadata_bytes=100)
    assert found.error.code == "metadata_too_large"
    assert found.remedies == ('oversize = "skip"', "metadata_bytes = 208")
    assert prepare(big, metadata_bytes=100, oversize="skip") == Skipped("oversize")


# -- NUL ----------------------------------------------------------------------------------------


def test_nul_becomes_a_visible_sign_and_the_document_says_so():
    found = prepare(own(content="a\x00b", metadata={"k\x00": ["x\x00", 1]}), {"v": 1, "kind": "f\x00"})
    assert sent(found).document == f"a{NUL_SIGN}b"
    assert sent(found).metadata[f"k{NUL_SIGN}"] == [f"x{NUL_SIGN}", 1]
    assert sent(found).metadata["memxfer"]["kind"] == f"f{NUL_SIGN}"
    assert found.changes == ("nul_replaced",)


def test_a_text_that_only_spells_out_nul_is_left_alone():
    found = prepare(own(content="write \\u0000 here"))
    assert sent(found).document == "write \\u0000 here"
    assert found.changes == ()


# -- metadata -----------------------------------------------------------------------------------


def test_the_vendor_s_plain_keys_and_the_envelope_stand_beside_the_user_s_own():
    record = own(metadata={"topic": "tea"}, scope=Scope(user="ann", session="s1"), messages=TURNS)
    metadata = sent(prepare(record, {"v": 1, "agent": "bot"})).metadata
    assert metadata == {
        "topic": "tea",
        "source": "migration",
        "document_id": "mx:1",
        "original_created_at": "2025-01-01T00:00:00Z",
        "conversation_id": "24dd4bcc-07da-56fa-a687-57940092c390",  # for ever: made of acme, ann and s1
        "original_conversation_id": "s1",
        "memxfer": {"v": 1, "agent": "bot"},
    }


def test_a_memory_of_a_session_names_its_conversation_too_and_is_no_turn():
    body = sent(prepare(own(scope=Scope(user="ann", session="s1"))))
    assert (body.document, body.document_type) == ("Ann likes tea.", "document")
    assert body.metadata["original_conversation_id"] == "s1"


def test_a_memory_without_a_session_names_no_conversation():
    assert "conversation_id" not in sent(prepare(own(messages=TURNS, content=""))).metadata


def test_the_user_s_own_keys_win_and_ours_move_into_the_envelope():
    found = prepare(own(metadata={"source": "slack", "document_id": 7}), {"v": 1})
    assert sent(found).metadata["source"] == "slack"
    assert sent(found).metadata["document_id"] == 7
    assert sent(found).metadata["memxfer"]["plain_keys"] == {"source": "migration", "document_id": "mx:1"}
    assert found.changes == ()
    assert sent(found).document_id == "mx:1"


def test_the_user_s_own_memxfer_key_wins_and_the_document_says_that_the_envelope_is_gone():
    found = prepare(own(metadata={"memxfer": "mine"}), {"v": 1})
    assert sent(found).metadata["memxfer"] == "mine"
    assert found.changes == ("envelope_dropped",)


def test_an_envelope_that_does_not_fit_is_left_out_and_the_document_says_so():
    found = prepare(own(), {"v": 1, "extensions": "x" * 500}, metadata_bytes=300)
    assert "memxfer" not in sent(found).metadata
    assert found.changes == ("envelope_dropped",)


def test_the_record_is_not_changed_by_being_mapped():
    record = own(metadata={"topic": ["tea"]})
    before = msgspec.json.encode(record)
    prepare(record, {"v": 1})
    assert msgspec.json.encode(record) == before


# -- the whole ----------------------------------------------------------------------------------


def test_a_document_knows_its_size_scope_and_record():
    found = prepare(own())
    assert found.size == len(found.body)
    assert (found.key, found.record_id, found.scope) == ("mx:1", "m1", "user")


def test_what_json_cannot_carry_is_an_error_without_the_text():
    with pytest.raises(RecordError) as caught:
        prepare(own(content="lone \ud800 surrogate"))
    assert caught.value.code == "unencodable"
    assert "surrogate" not in str(caught.value)


texts = st.text(st.characters(codec="utf-8"), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(content=texts, metadata=st.dictionaries(texts, values, max_size=4), roles=st.lists(texts, max_size=3))
def test_whatever_a_record_holds_the_server_takes_it_or_a_reason_is_given(content, metadata, roles):
    messages = tuple(Message(role=role, content=content) for role in roles)
    found = prepare(own(content=content, metadata=metadata, messages=messages), {"v": 1})
    if isinstance(found, Refused):
        assert found.error.code in {"empty", "metadata_too_large"}
        return
    raw = found.body
    try:
        accept(caller(False), SynapSettings(), DOCUMENT_DECODER.decode(raw), raw)
    except DocumentError as error:
        pytest.fail(f"the emulator refuses it: {error}")
    assert metadata.items() <= sent(found).metadata.items() or found.changes
