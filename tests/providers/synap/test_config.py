import pytest
from pydantic import ValidationError

from memxfer.spi import Axis, ClientKey, Dimension, Level, RemoteConfig, Role
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.config import DEFAULT_BASE_URL


def config(**settings):
    return SynapConfig(**{"provider": "synap", "api_key": "k", **settings})


def test_the_defaults_decide_nothing_that_is_the_user_s_to_decide():
    plain = config()
    assert (plain.unscoped, plain.undated, plain.oversize, plain.customer_id) == (None, None, None, None)
    assert (plain.transport, plain.mode, plain.duplicate_policy) == ("sdk", "long-range", ClientKey.UNKNOWN)
    assert (plain.document_bytes, plain.metadata_bytes, plain.url) == (100_000, 16_384, DEFAULT_BASE_URL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transport", "grpc"),
        ("unscoped", "share"),
        ("unscoped", "assign:"),
        ("unscoped", ""),
        ("undated", "today"),
        ("oversize", "split"),
        ("mode", "BOOTSTRAP"),
        ("document_type", "note"),
        ("duplicate_policy", "update"),
        ("duplicate_policy", "none"),
        ("instance_id", "prod"),
        ("customer_id", ""),
        ("document_bytes", 0),
        ("priority", "BOOTSTRAP"),
    ],
)
def test_a_bad_value_is_refused_under_the_name_of_its_field(field, value):
    with pytest.raises(ValidationError) as caught:
        config(**{field: value})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_every_field_of_its_own_explains_itself():
    own = SynapConfig.model_fields.keys() - RemoteConfig.model_fields.keys()
    assert own
    assert all(SynapConfig.model_fields[name].description for name in own)


def test_the_key_is_never_shown():
    shown = config(api_key="very-secret")
    assert "very-secret" not in f"{shown!r} {shown} {shown.model_dump_json()}"


def capabilities(**settings):
    return SynapProvider(config(**settings)).capabilities()


def test_nothing_is_claimed_to_be_readable_or_verbatim():
    claims = capabilities()
    assert claims.paging is None
    assert {channel.read for channel in claims.dimensions.values()} == {Level.NONE}
    assert not claims.writing.verbatim
    assert claims.writing.acknowledges == "async"
    assert claims.writing.max_batch == 100


def test_every_dimension_that_is_not_kept_as_it_is_says_what_becomes_of_it():
    lossy = [c for c in capabilities().dimensions.values() if c.write is Level.LOSSY]
    assert len(lossy) == 7
    assert all(channel.note for channel in lossy)
    assert "current" in capabilities().channel(Dimension.INACTIVE).note


@pytest.mark.parametrize("policy", list(ClientKey)[1:])
def test_the_duplicate_policy_is_what_the_connection_says(policy):
    assert capabilities(duplicate_policy=policy).writing.client_key is policy


def test_limits_and_reserved_keys_are_told():
    limits = capabilities(document_bytes=5, metadata_bytes=9).limits
    assert (limits.content_bytes, limits.metadata_bytes) == (5, 9)
    assert limits.reserved_keys >= {"memxfer", "source", "document_id"}


@pytest.mark.parametrize(
    ("settings", "required"),
    [
        ({}, ({Axis.USER, Axis.TENANT}, {Axis.TENANT})),
        ({"customer_id": "acme"}, ({Axis.USER}, {Axis.TENANT})),
        ({"customer_id": "acme", "unscoped": "skip"}, ()),
        ({"unscoped": "skip"}, ({Axis.USER, Axis.TENANT}, {Axis.TENANT})),
    ],
)
def test_what_the_connection_decides_a_record_need_not_name(settings, required):
    assert capabilities(**settings).identity.required_to_write == required


@pytest.fixture
def transport():
    return "http"


@pytest.mark.anyio
async def test_a_b2c_instance_has_no_tenants(synap):
    synap.configure(isolation="equals_customer")
    provider = synap.provider(customer_id=None)
    await provider.connect(Role.TARGET)
    claims = provider.capabilities()
    assert claims.identity.axes == {Axis.USER}
    assert claims.channel(Dimension.TENANT).write is Level.ENVELOPE
