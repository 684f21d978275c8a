"""What a report tells beyond having a dimension or not."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from memxfer.capabilities import Capabilities, Channel, ClientKey, CustomExtension, Dimension, Level, Limits
from memxfer.gaps import Census, Concern, End, EnvelopeBuilder, Fidelity, Verdict, build_report
from memxfer.gaps.crossings import KnownCrossings
from memxfer.gaps.traits import rules_in, traits_of
from memxfer.models import MemoryRecord, RecordState, Scope, Validity
from memxfer.spi import Paging, ReadTime, StoreIdentity, Writing
from tests.unit.gaps.conftest import BARE, FULL, NOW, able, document, refused, skipped

PAST, FUTURE = NOW - timedelta(days=9), NOW + timedelta(days=9)


def record(number=1, **fields):
    return MemoryRecord(id=f"r{number}", **{"content": f"text {number}", **fields})


def scan(*records, source=None, target=None, documents=None, **options):
    """Return the report of `records`, each as a document of its own or one of `documents`."""
    source, target = source or able(), target or able()
    census = Census(target, now=NOW)
    for number, one in enumerate(records):
        census.add(one, documents[number] if documents else document())
    ends = {
        "source": End("old", source),
        "target": End("new", target, allows_widening=options.pop("widen", False)),
    }
    try:
        return build_report(census, **ends, total=options.pop("total", None), **options)
    finally:
        census.crossings.close()


def lines(report, dimension, *, verdict=None):
    return [
        line
        for line in report.dimensions
        if line.dimension == dimension and (verdict is None or line.verdict is verdict)
    ]


# -- checks -----------------------------------------------------------------------------------

ENDED = {
    "valid_to": Validity(valid_to=PAST),
    "invalidated": Validity(valid_to=FUTURE, invalidated_at=PAST),
}


@pytest.mark.parametrize("validity", ENDED.values(), ids=ENDED)
@pytest.mark.parametrize("level", [Level.NONE, Level.ENVELOPE, Level.LOSSY])
def test_a_fact_that_has_ended_is_told_where_the_target_would_show_it_as_true(validity, level):
    records = [record(1, validity=validity), record(2, validity=Validity(valid_to=FUTURE)), record(3)]

    (found,) = lines(scan(*records, target=able(validity=level)), "validity", verdict=Verdict.AT_RISK)

    assert (found.records, found.samples) == (1, ("r1",))
    assert found.consequence == "1 of 3 memories tell something that has ended; in new it looks true again."


def test_a_temporal_target_needs_no_warning_about_ended_facts():
    report = scan(record(validity=Validity(valid_to=PAST)))

    assert [line.verdict for line in lines(report, "validity")] == [Verdict.KEPT]


def test_an_expired_memory_counts_by_its_date_and_is_not_enveloped_twice():
    expired = record(expires_at=PAST, state=RecordState.EXPIRED)
    target = able(expiry=Level.ENVELOPE, inactive=Level.ENVELOPE)

    report = scan(expired, target=target)

    assert [(line.verdict, line.records) for line in lines(report, "expiry")] == [
        (Verdict.AT_RISK, 1),
        (Verdict.ENVELOPED, 1),
    ]
    assert [line.records for line in lines(report, "inactive")] == [0]
    assert "state" not in EnvelopeBuilder(target, StoreIdentity("old", "c"))(expired)


@pytest.mark.parametrize(
    ("at", "is_odd"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), True),
        (datetime(1969, 12, 31, tzinfo=UTC), True),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (NOW + timedelta(hours=23), False),
        (FUTURE, True),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), True),
    ],
)
def test_dates_of_another_age_are_told(at, is_odd):
    report = scan(record(created_at=at))

    assert bool(lines(report, "created_at", verdict=Verdict.AT_RISK)) is is_odd


@pytest.mark.parametrize(
    ("step", "at", "is_finer"),
    [
        ("second", NOW, False),
        ("second", NOW + timedelta(microseconds=1), True),
        ("millisecond", NOW + timedelta(milliseconds=7), False),
        ("millisecond", NOW + timedelta(microseconds=7_001), True),
        ("day", NOW, False),
        ("day", NOW + timedelta(hours=1), True),
        ("microsecond", NOW + timedelta(microseconds=1), False),
        ("none", NOW + timedelta(microseconds=1), False),
    ],
)
def test_times_finer_than_the_target_keeps_are_told(step, at, is_finer):
    target = able().model_copy(update={"writing": Writing(client_key=ClientKey.UPSERT, backdates=step)})

    report = scan(record(created_at=at), target=target)

    assert bool(lines(report, "created_at", verdict=Verdict.APPROXIMATED)) is is_finer


def test_metadata_keys_that_the_target_reserves_are_told():
    target = able().model_copy(update={"limits": Limits(reserved_keys=frozenset({"memxfer", "source"}))})

    report = scan(record(1, metadata={"source": "x"}), record(2, metadata={"topic": 1}), target=target)

    found = lines(report, "metadata")[-1]
    assert (found.records, found.samples, found.verdict) == (1, ("r1",), Verdict.KEPT)
    assert "theirs stay" in found.consequence


@pytest.mark.parametrize("verbatim", [True, False])
def test_derived_memories_double_only_where_the_target_derives_by_itself(verbatim):
    target = able().model_copy(
        update={"writing": Writing(client_key=ClientKey.UPSERT, verbatim=verbatim, backdates="microsecond")}
    )

    report = scan(record(derived_from=("r0",)), target=target)

    assert bool(lines(report, "derived", verdict=Verdict.AT_RISK)) is not verbatim


# -- between records --------------------------------------------------------------------------


def test_records_that_would_share_a_key_block():
    documents = [document(key="a"), document(key="a"), document(key="b"), document(key="a")]

    report = scan(*[record(n) for n in range(4)], documents=documents)

    (found,) = lines(report, Concern.KEYS)
    assert (found.records, found.blocking, found.verdict) == (3, True, Verdict.LOST)
    assert found.samples == ("r0", "r1", "r3")
    assert "share 1 document keys" in found.consequence
    assert "document_id" in found.remedy
    assert report.blocking


@pytest.mark.parametrize("client_key", [ClientKey.NONE, ClientKey.APPEND])
def test_records_that_share_a_key_block_nothing_where_the_target_stores_each(client_key):
    target = able().model_copy(update={"writing": Writing(client_key=client_key, backdates="microsecond")})

    report = scan(record(1), record(2), documents=[document(key="a"), document(key="a")], target=target)

    (found,) = lines(report, Concern.KEYS)
    assert (found.records, found.blocking, found.verdict) == (2, False, Verdict.KEPT)


def owned(*people, drops):
    records = [record(n, scope=Scope(**scope)) for n, scope in enumerate(people)]
    documents = [
        document(owner=msgspec.structs.replace(one.scope, **dict.fromkeys(drops))) for one in records
    ]
    return records, documents


def test_two_tenants_users_of_one_name_may_not_become_one_person_unasked():
    people = [{"tenant": "a", "user": "ann"}, {"tenant": "b", "user": "ann"}, {"tenant": "a", "user": "bob"}]
    records, documents = owned(*people, drops=["tenant"])

    (found,) = lines(scan(*records, documents=documents), Concern.OWNERS)
    (allowed,) = lines(scan(*records, documents=documents, widen=True), Concern.OWNERS)

    assert (found.records, found.blocking, found.remedy) == (2, True, 'widening = "allow"')
    assert "belong to 2 owners that become 1 in new" in found.consequence
    assert (allowed.records, allowed.blocking, allowed.verdict) == (2, False, Verdict.AT_RISK)


def test_owners_that_stay_apart_merge_nothing():
    people = [{"tenant": "a", "user": "ann"}, {"tenant": "a", "user": "bob"}, {"agent": "x"}, {"agent": "y"}]
    records, documents = owned(*people, drops=["tenant", "agent"])

    (found,) = lines(scan(*records, documents=documents), Concern.OWNERS)

    assert (found.records, found.blocking, found.verdict) == (0, False, Verdict.KEPT)


def test_a_text_its_owner_has_already_is_counted_and_others_are_not():
    ann, bob = Scope(user="ann"), Scope(user="bob")
    records = [
        record(1, content="likes tea", scope=ann),
        record(2, content="likes tea", scope=bob),
        record(3, content="likes tea", scope=ann),
        record(4, content="likes tea", scope=ann),
        record(5, content="likes Tea", scope=ann),
    ]

    extracting = able().model_copy(update={"writing": Writing(client_key=ClientKey.UPSERT, verbatim=False)})

    (stored,), (read,) = (
        lines(scan(*records, target=one), Concern.DUPLICATES) for one in (able(), extracting)
    )

    assert (stored.records, stored.verdict, stored.blocking) == (2, Verdict.KEPT, False)
    assert (read.records, read.verdict, read.blocking) == (2, Verdict.AT_RISK, False)


def test_only_what_would_be_sent_can_collide():
    documents = [document(key="a"), skipped(), refused("odd")]

    report = scan(*[record(1)] * 3, documents=documents)

    always = set(Concern) - {Concern.IGNORED, Concern.DECIDED}
    assert [line.records for name in always for line in lines(report, name)] == [0] * len(always)


# -- extensions -------------------------------------------------------------------------------

OWN = {"old.mood": CustomExtension(carried="per_record", description="how it felt")}
EXTENDED = [record(1, extensions={"old": {"mood": 1, "odd": 2}}), record(2, extensions={"old": {"mood": 1}})]


def test_each_field_of_an_extension_is_named_with_what_its_provider_says_of_it():
    source = able().model_copy(update={"custom": OWN})

    report = scan(*EXTENDED, source=source, target=able(extensions=Level.NONE))

    (mood,), (odd,) = lines(report, "old.mood"), lines(report, "old.odd")
    assert (mood.records, mood.verdict, mood.group) == (2, Verdict.LOST, "extensions")
    assert mood.consequence.startswith("2 of 2 memories have old.mood (how it felt); new drops it")
    assert "no adapter describes" in odd.consequence


def test_a_target_of_the_same_make_has_a_place_for_its_own_fields():
    target = able(extensions=Level.NONE).model_copy(update={"custom": OWN})
    mixed, own = EXTENDED

    report = scan(mixed, own, target=target)

    assert [line.verdict for line in lines(report, "old.mood")] == [Verdict.KEPT]
    assert [line.verdict for line in lines(report, "old.odd")] == [Verdict.LOST]
    (dimension,) = lines(report, "extensions")
    assert (dimension.records, dimension.samples, dimension.verdict) == (1, ("r1",), Verdict.LOST)
    assert [line.verdict for line in lines(scan(own, target=target), "extensions")] == [Verdict.KEPT]


def test_what_a_target_has_a_place_for_is_neither_enveloped_nor_missed():
    target = able(extensions=Level.ENVELOPE).model_copy(update={"custom": OWN})
    mixed, own = EXTENDED
    build, fidelity = EnvelopeBuilder(target, StoreIdentity("old", "c")), Fidelity(target)

    assert build(mixed)["ext"] == {"old": {"odd": 2}}
    assert build(own) == {}
    assert (fidelity.is_whole(mixed, document()), fidelity.is_whole(own, document())) == (False, True)


def test_a_hostile_number_of_fields_stays_bounded():
    report = scan(*[record(n, extensions={"old": {f"f{n}": 1}}) for n in range(300)])

    named = [line for line in report.dimensions if line.dimension.startswith("old.")]
    assert len(named) == 200
    assert lines(report, "extensions")[0].records == 300


def test_what_only_the_source_can_do_is_named():
    source = able().model_copy(
        update={"custom": {"old.ask": CustomExtension(carried="operations_only", description="questions")}}
    )

    (found,) = lines(scan(BARE, source=source), "old.ask")

    assert (found.verdict, found.records) == (Verdict.READ_TIME_ONLY, 0)
    assert found.consequence == "old offers questions; new does not."


# -- ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "can_look_up", "verdict"),
    [
        (ClientKey.UPSERT, False, Verdict.KEPT),
        (ClientKey.DEDUPE, False, Verdict.KEPT),
        (ClientKey.REJECT, False, Verdict.KEPT),
        (ClientKey.UNKNOWN, False, Verdict.UNKNOWN),
        (ClientKey.APPEND, False, Verdict.AT_RISK),
        (ClientKey.APPEND, True, Verdict.KEPT),
        (ClientKey.NONE, False, Verdict.AT_RISK),
        (ClientKey.NONE, True, Verdict.KEPT),
    ],
)
def test_what_a_document_does_that_comes_twice_is_told(key, can_look_up, verdict):
    target = End("new", Capabilities(writing=Writing(client_key=key)), can_look_up=can_look_up)

    report = build_report(
        Census(crossings=KnownCrossings()), source=End("old", able()), target=target, total=0
    )

    (found,) = lines(report, Concern.REPEATS)
    assert found.verdict is verdict
    assert ("--probe" in found.remedy) is (verdict is Verdict.UNKNOWN)


@pytest.mark.parametrize(("insert", "delete"), [(True, True), (True, False), (False, True)])
def test_a_listing_that_shifts_is_told(insert, delete):
    source = Capabilities(paging=Paging(insert_safe=insert, delete_safe=delete), read_time=ReadTime())

    (found,) = lines(scan(BARE, source=source), Concern.LISTING)

    assert (found.verdict is Verdict.KEPT) is (insert and delete)


# -- samples ----------------------------------------------------------------------------------


def test_a_sample_is_extrapolated_and_what_it_does_not_show_is_unknown():
    tagged, plain = record(1, tags=("x",)), record(2)
    target = able(tags=Level.NONE, pinning=Level.NONE)

    report = scan(tagged, plain, target=target, total=1_000, is_sample=True)

    (tags,), (pins,), (users,) = lines(report, "tags"), lines(report, "pinning"), lines(report, "user")
    assert report.sample
    assert (tags.records, tags.estimate, tags.verdict) == (1, 500, Verdict.LOST)
    assert (pins.verdict, pins.consequence) == (
        Verdict.UNKNOWN,
        "No memory read has a pin; the others were not read.",
    )
    assert users.verdict is Verdict.KEPT


def test_a_whole_scan_estimates_nothing():
    report = scan(record(tags=("x",)), total=1)

    assert {line.estimate for line in report.dimensions} == {None}


def test_without_a_residue_nothing_is_said_to_keep_the_originals():
    report = scan(FULL, target=able(versions=Level.NONE), keeps_originals=False)

    assert lines(report, "versions")[0].consequence.endswith("; nothing keeps it.")


# -- traits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        BARE,
        FULL,
        record(scope=Scope(extra={"org": "x"}), superseded_by="r9"),
        record(scope=Scope(user="", tenant=""), visibility="", importance=0.0),
    ],
)
def test_traits_say_what_the_rules_find_when_they_look(one):
    from memxfer.gaps import RULES

    looked = {rule.dimension for rule in RULES if rule.carried(one) is not None}

    assert {rule.dimension for rule in rules_in(traits_of(one))} == looked


def test_a_source_with_no_end_of_different_records_is_counted_in_bounded_memory(monkeypatch):
    monkeypatch.setattr("memxfer.gaps.scan.MOST_KINDS", 2)
    census = Census(able(), now=NOW)
    for number in range(8):
        flags = {
            "tags": ("x",) if number & 1 else (),
            "pinned": bool(number & 2),
            "visibility": "a" * (number & 4),
        }
        census.add(record(number, **flags), document())
        assert len(census._kinds) <= 2

    assert {d: census.carried()[d].records for d in (Dimension.TAGS, Dimension.PINNING, Dimension.IDS)} == {
        Dimension.TAGS: 4,
        Dimension.PINNING: 4,
        Dimension.IDS: 8,
    }
    assert len(census.carried()[Dimension.IDS].samples) == 3


def test_a_change_of_a_document_keeps_it_from_being_whole():
    fidelity = Fidelity(able())

    assert fidelity.is_whole(FULL, document())
    assert not fidelity.is_whole(FULL, document("blurred"))
    assert not fidelity.is_whole(FULL, refused("odd"))
    assert not fidelity.is_whole(FULL, skipped())


def test_a_change_replaces_the_line_that_would_call_the_dimension_kept():
    report = scan(
        record(1, sanitised=("a",)), record(2, sanitised=("a",)), documents=[document("blurred"), document()]
    )

    (found,) = lines(report, "sanitised")
    assert (found.verdict, found.records) == (Verdict.APPROXIMATED, 1)


def test_channels_are_not_shared_by_accident():
    assert Capabilities().channel(Dimension.TAGS) == Channel()


def test_rows_that_a_source_counts_and_does_not_give_are_told():
    (found,) = lines(scan(BARE, total=10, hidden=9), Concern.LISTING)

    assert (found.verdict, found.records) == (Verdict.AT_RISK, 9)
    assert found.consequence == "old says it holds 9 more rows than it gave; they would not be moved."


def test_a_time_that_the_target_cuts_keeps_a_record_from_being_whole():
    target = able().model_copy(update={"writing": Writing(client_key=ClientKey.UPSERT, backdates="second")})
    fidelity = Fidelity(target)

    assert fidelity.is_whole(record(created_at=NOW), document())
    assert not fidelity.is_whole(record(created_at=NOW + timedelta(microseconds=1)), document())


def test_equal_texts_that_the_target_merges_are_approximated():
    merging = Writing(client_key=ClientKey.NONE, merges_repeats=True, backdates="microsecond")
    target = able().model_copy(update={"writing": merging})

    (found,) = lines(scan(record(1, content="x"), record(2, content="x"), target=target), Concern.DUPLICATES)

    assert (found.verdict, found.records) == (Verdict.APPROXIMATED, 1)


def test_records_that_a_decision_leaves_out_are_counted_by_decision():
    report = scan(
        *[record(number) for number in range(4)],
        documents=[document(), skipped(), skipped(), skipped("undated")],
    )

    found = {line.consequence.partition("(")[2]: line for line in lines(report, Concern.DECIDED)}
    assert {reason: line.records for reason, line in found.items()} == {"unscoped).": 2, "undated).": 1}
    assert all((line.verdict, line.remedy) == (Verdict.LEFT_OUT, "") for line in found.values())
    assert not report.blocking
