"""Lines of a part, from any place on, however the file was packed."""

import gzip
import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memxfer.archive.stream import START, PartStream, Place
from memxfer.errors import FatalError

LINE = st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Write bytes as gzip members cut at given places; return the file."""
    path = tmp_path_factory.mktemp("parts") / "part.gz"

    def write(data, *cuts):
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        members = [data[begin:end] for begin, end in itertools.pairwise(edges)] or [b""]
        path.write_bytes(b"".join(gzip.compress(member) for member in members))
        return path

    return write


def read_all(stream, size=3):
    rows = []
    while batch := stream.read(size, max_bytes=10**9):
        rows += batch
    return rows


def opened(path, place=START, **options):
    return PartStream(path, place=place, raw_limit=10**9, **options)


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(LINE, max_size=12),
    cuts=st.lists(st.integers(0, 300), max_size=4),
    size=st.integers(1, 5),
    newline=st.booleans(),
)
def test_walk_goes_on_from_every_place(pack, lines, cuts, size, newline):
    data = b"\n".join(lines) + (b"\n" if newline and lines else b"")
    path = pack(data, *cuts)
    expected = list(enumerate(lines))
    seen = []
    place = START
    while True:
        with opened(path, Place.parse(str(place))) as stream:
            rows = stream.read(size, max_bytes=10**9)
            place = stream.place
            assert stream.is_at_end == (len(seen) + len(rows) == len(expected))
        seen += rows
        if not rows:
            break
    assert seen == expected


def test_small_unpacked_pieces_give_the_same_lines(pack, monkeypatch):
    monkeypatch.setattr("memxfer.archive.inflate._UNPACK", 7)
    monkeypatch.setattr("memxfer.archive.inflate._READ", 5)
    lines = [bytes([65 + index]) * index for index in range(1, 30)]
    path = pack(b"\n".join(lines) + b"\n", 3, 50, 51, 200)
    with opened(path) as stream:
        assert read_all(stream) == list(enumerate(lines))


def test_blank_and_skipped_lines_are_left_out_but_counted(pack):
    path = pack(b"a\n\nb\nc\n")
    with opened(path, skipped={2}) as stream:
        assert read_all(stream) == [(0, b"a"), (3, b"c")]


def test_page_ends_at_its_bytes(pack):
    path = pack(b"\n".join([b"x" * 100] * 10) + b"\n")
    with opened(path) as stream:
        assert len(stream.read(10, max_bytes=250)) == 3


def test_line_that_is_too_long_is_given_up_in_bounded_memory(pack, monkeypatch):
    monkeypatch.setattr("memxfer.archive.stream.MAX_LINE", 1_000_000)
    path = pack(b"before\n" + b"x" * 50_000_000 + b"\nafter\n")
    tracemalloc.start()
    with opened(path) as stream:
        rows = read_all(stream)
        place = stream.place
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(0, b"before"), (1, None), (2, b"after")]
    assert place.skip == 50_000_014
    assert peak < 8_000_000


def test_place_after_a_line_that_is_too_long_is_right(pack, monkeypatch):
    monkeypatch.setattr("memxfer.archive.stream.MAX_LINE", 1_000)
    path = pack(b"before\n" + b"x" * 600_000 + b"\nafter\nlast\n")
    with opened(path) as stream:
        stream.read(2, max_bytes=10**9)
        place = stream.place
    with opened(path, place) as stream:
        assert read_all(stream) == [(2, b"after"), (3, b"last")]


def test_bomb_is_refused(pack):
    path = pack(b"0" * 20_000_000 + b"\n")
    assert path.stat().st_size < 100_000
    with PartStream(path, raw_limit=1_000_000) as stream, pytest.raises(FatalError, match="unpacks to more"):
        read_all(stream)


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_file_that_is_cut_short_is_refused(pack, keep):
    path = pack(b"\n".join(b"line %d" % number for number in range(5_000)) + b"\n")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with opened(path) as stream, pytest.raises(FatalError, match="cut short"):
        read_all(stream, 100)


def test_file_that_is_no_gzip_is_refused(pack):
    path = pack(b"x\n")
    path.write_bytes(b'{"key": "plain"}\n')
    with opened(path) as stream, pytest.raises(FatalError, match="is damaged"):
        read_all(stream)


def test_changed_bytes_are_noticed(pack):
    path = pack(bytes(range(11, 200)) * 50 + b"\n")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with opened(path) as stream, pytest.raises(FatalError, match="is damaged"):
        read_all(stream)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "-1.0.0", "a.b.c", "1.2.3\n", "٣.1.1", "9" * 40 + ".0.0"]
)
def test_nonsense_is_no_place(text):
    with pytest.raises(ValueError, match="not a place"):
        Place.parse(text)


@pytest.mark.parametrize("place", [Place(member=3), Place(skip=10**6), Place(member=10**9, skip=1)])
def test_place_outside_the_part_is_refused(pack, place):
    with pytest.raises(ValueError, match="part"), opened(pack(b"a\nb\n"), place) as stream:
        read_all(stream)
