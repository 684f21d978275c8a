import pytest

from memxfer.report.text import amount, duration, plain, plural, shorten


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain é 漢字", "plain é 漢字"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x9b1m", "\\x1b[31mred\\x9b1m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("lone \ud800", "lone \\ud800"),
        ("line\u2028break", "line\\u2028break"),
        ("family 👨\u200d👩", "family 👨\u200d👩"),
        (17, "17"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped_and_writing_is_not(foreign, shown):
    assert plain(foreign) == shown


def test_every_result_can_be_written_to_any_utf8_stream():
    assert plain("".join(map(chr, range(0xD7F0, 0xE010)))).encode("utf-8")


def test_shortening_says_that_something_is_missing():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.5, "9.5 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, shown):
    assert duration(seconds) == shown


def test_amounts():
    assert (amount(12345), amount(0), amount(None)) == ("12,345", "0", "-")
    assert (plural(1, "record"), plural(0, "record"), plural(2, "record")) == (
        "1 record",
        "0 records",
        "2 records",
    )
