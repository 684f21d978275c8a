import pytest

from memxfer.capabilities import Limits
from memxfer.spi.limits import over_limit

FLAT = {"a": 1, "b": "x"}
NESTED = {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("metadata", "limits", "is_over"),
    [
        (FLAT, Limits(), False),
        (FLAT, Limits(metadata_keys=2), False),
        (FLAT, Limits(metadata_keys=1), True),
        ({}, Limits(metadata_keys=0, metadata_depth=1), False),
        (FLAT, Limits(metadata_depth=1), False),
        (NESTED, Limits(metadata_depth=1), True),
        (NESTED, Limits(metadata_depth=2), True),
        (NESTED, Limits(metadata_depth=3), False),
    ],
)
def test_keys_and_depth_of_metadata_are_bounded_where_the_target_says_so(metadata, limits, is_over):
    error = over_limit(metadata, limits, provider="p")

    assert (error is not None) is is_over
    assert error is None or error.code == "metadata_too_large"


def test_the_error_tells_numbers_and_never_what_is_in_there():
    error = over_limit({"secret-key": "secret"}, Limits(metadata_keys=0), provider="p")

    assert str(error) == "the record's metadata has 1 keys; p takes 0"
