"""Frames: the captured vectors, every way to cut a stream, long frames, and finding the place again."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.eif.errors import FrameError
from opentec.eif.frame import Frame, FrameReader, Oversized, data_of, encode_frame, strip, text_of

# tec.md 1.2, vector A: captured from a log file agent
TEXT_A = (
    "AllRecords;text='12/29/14 13:37:45:032 EST [Thread-52] INFO  - StatisticsTrackerManager : flushStatistics() - "
    "Updating summary statistcs, product total, high water mark and product average.';RemoteHost='';"
    "hostname='nc043210';logpath='/opt/scala/driver/logs/UnityApplication.log';END"
)
VECTOR_A = b"<START>>" + bytes(20) + bytes.fromhex("0000011d00000004") + b"\x03" + TEXT_A.encode() + b"\n\x01"
# vector B: the pack template of the Perl sender
TEXT_B = b"Logfile_Base;\nsource=Logfile;\nseverity=WARNING;\nmsg='hello';\nhostname=tec1;\nEND\n"
VECTOR_B = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, len(TEXT_B) + 1, len(TEXT_B) + 1) + TEXT_B + b"\x01"

EVENT = b"A;x=1;END\n\x01"


def drain(reader: FrameReader) -> list[Frame | Oversized]:
    found: list[Frame | Oversized] = []
    while batch := reader.frames():
        found += batch
    return found


def read(data: bytes, *cuts: int, **options: object) -> list[Frame | Oversized]:
    reader = FrameReader(**options)  # type: ignore[arg-type]
    found: list[Frame | Oversized] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        reader.feed(data[at:cut])
        found += drain(reader)
        at = cut
    return found


def test_vector_a() -> None:
    (frame,) = read(VECTOR_A)
    assert isinstance(frame, Frame)
    assert frame.data[:1] == b"\x03"
    assert text_of(frame.data) == TEXT_A


def test_vector_b() -> None:
    (frame,) = read(VECTOR_B)
    assert strip(frame.data) == TEXT_B[:-1]


def test_header_words() -> None:
    frame = encode_frame(EVENT, sequence=2**32 + 5, end_offset=2**33 + 7, file=9)
    assert struct.unpack(">7I", frame[8:36]) == (1, 5, 2, 7, 9, len(EVENT), len(EVENT))
    assert read(frame, strict=True) == [Frame(2**32 + 5, 2**33 + 7, 9, EVENT)]


@pytest.mark.parametrize("strict", [True, False, None])
def test_cut_at_every_byte(strict: bool | None) -> None:
    stream = encode_frame(EVENT, 1) + encode_frame(data_of("B;END"), 2) + encode_frame(EVENT, 3, 10, 4)
    whole = read(stream, strict=strict)
    assert len(whole) == 3
    for cut in range(len(stream)):
        assert read(stream, cut, strict=strict) == whole
    assert read(stream, *range(len(stream)), strict=strict) == whole


texts = st.text(st.characters(codec="utf-8"), max_size=60).map(lambda text: f"A;m='{text}';END")
streams = st.lists(st.tuples(texts, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)))


@given(streams, st.lists(st.integers(0, 2000), max_size=8), st.integers(8, 64))
def test_any_cut_gives_the_same(items: list[tuple[str, int, int, int]], cuts: list[int], limit: int) -> None:
    stream = b"".join(encode_frame(data_of(text), *numbers) for text, *numbers in items)
    found = read(stream, *[cut for cut in cuts if cut < len(stream)], strict=True, max_event=limit)
    assert len(found) == len(items)
    for frame, (text, *numbers) in zip(found, items, strict=True):
        assert [frame.sequence, frame.end_offset, frame.file] == numbers
        data = data_of(text)
        if len(data) <= limit:
            assert isinstance(frame, Frame)
            assert frame.data == data
            assert text_of(frame.data) == text.removesuffix("\n")
        else:
            assert isinstance(frame, Oversized)
            assert (frame.first_kib, frame.length) == (data[:1024], len(data))


def test_long_frames_are_skipped_without_holding_them() -> None:
    reader = FrameReader(max_event=5000, strict=True)
    data = b"A;m='" + b"x" * 1_000_000 + b"';END\n\x01"
    stream = encode_frame(data, 7, 8, 9)
    for at in range(0, len(stream), 4096):
        reader.feed(stream[at : at + 4096])
        found = reader.frames()
        assert reader._size < 5000
    assert found == [Oversized(7, 8, 9, data[:1024], len(data))]
    assert reader.pending == 0


@pytest.mark.parametrize("strict", [True, False])
def test_limits_are_inclusive(strict: bool) -> None:
    data = b"A;m=" + b"x" * 90 + b";END\n\x01"
    assert len(data) == 100
    assert isinstance(read(encode_frame(data), max_event=100, strict=strict)[0], Frame)
    assert isinstance(read(encode_frame(data), max_event=99, max_frame=100, strict=strict)[0], Oversized)


def test_strict_refuses_what_is_no_frame() -> None:
    good = encode_frame(EVENT, 1)
    reader = FrameReader(strict=True)
    reader.feed(good + b"\x01" + good)
    assert len(reader.frames()) == 1  # the good ones first
    with pytest.raises(FrameError, match="<START>>"):
        reader.frames()
    with pytest.raises(FrameError):  # and it stays so
        reader.frames()
    reader = FrameReader(strict=True)
    reader.feed(b"GET /")  # not even the beginning of a start
    with pytest.raises(FrameError):
        reader.frames()
    reader = FrameReader(strict=True, max_frame=1000)
    reader.feed(encode_frame(b"x" * 1001))
    with pytest.raises(FrameError, match="1001"):
        reader.frames()


def test_the_first_frame_decides() -> None:
    reader = FrameReader()
    reader.feed(encode_frame(b"$HELLO;protocol=1;END\n\x01") + b"rubbish rubbish rubbish rubbish rubbish")
    assert len(reader.frames()) == 1
    assert reader.strict is True
    with pytest.raises(FrameError):
        reader.frames()
    for first in (encode_frame(EVENT), b"rubbish" + encode_frame(EVENT)):
        reader = FrameReader()
        reader.feed(first + b"rubbish" + encode_frame(EVENT))
        assert len(drain(reader)) == 2
        assert reader.strict is False
    reader = FrameReader(max_event=50)
    reader.feed(encode_frame(b"$HELLO;" + b"x" * 90))
    assert isinstance(reader.frames()[0], Oversized)
    assert reader.strict is False


@pytest.mark.parametrize("between", [b"", b"\x01", b"\n\x01", b"<START", b"<<START", b"x" * 1000])
def test_plain_finds_its_place_again(between: bytes) -> None:
    stream = encode_frame(EVENT) + between + encode_frame(b"B;END\n\x01") + between
    for cut in range(len(stream)):
        assert [frame.data for frame in read(stream, cut, strict=False)] == [EVENT, b"B;END\n\x01"]  # type: ignore[union-attr]


def test_plain_gives_up_after_64_kib_of_rubbish() -> None:
    reader = FrameReader(strict=False)
    with pytest.raises(FrameError, match="not an EIF sender"):
        for _ in range(20):
            reader.feed(b"GET / HTTP/1.1\r\n" * 256)
            reader.frames()
    # rubbish between frames is counted anew after each frame
    piece = b"x" * 60_000 + encode_frame(EVENT)
    assert len(read(piece * 5, strict=False)) == 5


@pytest.mark.parametrize("length", [0, 3, 0x1D010000, 0xFFFFFFFF])
def test_plain_scans_for_the_end_when_the_length_is_not_plausible(length: int) -> None:
    bad = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, length, 4) + EVENT
    stream = bad + encode_frame(b"B;END\n\x01") + bad
    for cut in range(len(stream)):
        assert [frame.data for frame in read(stream, cut, strict=False)] == [EVENT, b"B;END\n\x01", EVENT]  # type: ignore[union-attr]


def test_plain_scan_keeps_the_limits() -> None:
    header = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, 0, 0)
    data = b"A;m='" + b"x" * 3000 + b"';END\n\x01"
    for cut in range(0, len(data), 7):
        (found,) = read(header + data, 36 + cut, strict=False, max_event=2000)
        assert found == Oversized(0, 0, 0, data[:1024], len(data))
    with pytest.raises(FrameError, match="no END"):
        read(header + data, 500, 1000, strict=False, max_event=1000, max_frame=2000)


@pytest.mark.parametrize("over", [1, 5, 36])
def test_plain_length_that_runs_into_the_next_frame(over: int) -> None:
    length = len(EVENT) + over
    bad = struct.pack(">8s7I", b"<START>>", 0, 0, 0, 0, 0, length, length) + EVENT
    assert [frame.data for frame in read(bad * 3 + encode_frame(EVENT), strict=False)] == [EVENT] * 4  # type: ignore[union-attr]


def test_pending_tells_a_cut_stream() -> None:
    reader = FrameReader(strict=True, max_event=100)
    assert reader.pending == 0
    reader.feed(encode_frame(EVENT)[:-1])
    assert reader.frames() == []
    assert reader.pending == 35 + len(EVENT)
    reader = FrameReader(strict=True, max_event=10)
    reader.feed(encode_frame(EVENT)[:-1])
    reader.frames()
    assert reader.pending > 0


def test_text_of() -> None:
    assert text_of("A;m=ü;END\n\x01".encode()) == "A;m=ü;END"
    assert text_of("A;m=ü;END\n\x01".encode("latin-1")) == "A;m=ü;END"
    assert text_of(b"\x03" + "A;m=ü;END\n\x01".encode("latin-1")) == "A;m=\ufffd;END"
    assert text_of(data_of("A;END\n")) == "A;END"
    assert data_of(b"A;END") == b"\x03A;END\n\x01"
