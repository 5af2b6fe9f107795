"""The fast way to read an event gives what the strict way gives: the same slots, the same errors."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentec.events import ClassTable, EventError, EventParser, parse_event
from opentec.events import parser as parser_module
from opentec.events.text import decode_text, format_value

TYPES = {
    "s1": ("STRING", None, False),
    "s2": ("STRING", None, False),
    "n": ("INTEGER", None, False),
    "r": ("REAL", None, False),
    "p": ("POINTER", None, False),
    "e": ("ENUM", "COLOUR", False),
    "l": ("STRING", None, True),
    "ln": ("INTEGER", None, True),
    "event_handle": ("INTEGER", None, False),
}


def make_table() -> ClassTable:
    slots = [[name, list(type_), "", False, True, "A"] for name, type_ in TYPES.items()]
    return ClassTable.from_data(
        {
            "enumerations": [["COLOUR", [["RED", 1], ["REDDER", 2], ["dark blue", 3]]]],
            "classes": [["A", None, slots], ["AB", "A", []]],
        }
    )


TABLE = make_table()


def strictly(data: bytes) -> object:
    try:
        class_name, raw = parse_event(decode_text(data))
        return class_name, list(TABLE.check(class_name, raw).items())
    except EventError as error:
        return type(error), str(error), getattr(error, "suggestion", None)


def quickly(parser: EventParser, data: bytes) -> object:
    try:
        class_name, slots = parser.parse(data)
        return class_name, list(slots.items())
    except EventError as error:
        return type(error), str(error), getattr(error, "suggestion", None)


def learned(parser: EventParser) -> int:
    return sum(len(shapes) for shapes in parser._shapes.values())


USUAL = b"A;s1=x;s2='it''s; so';n=12;r=1.5;p=7;e=RED;l=[a, b];END\n\x01"


def test_the_second_event_of_a_kind_takes_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = EventParser(TABLE)
    first = parser.parse(USUAL)
    assert learned(parser) == 1
    monkeypatch.setattr(parser_module, "parse_event", None)
    assert parser.parse(USUAL) == first
    assert parser.parse(USUAL.replace(b"s1=x", b"s1='a b'").replace(b"=[a, b]", b"=[]"))[1]["s1"] == "a b"
    assert parser.parse(USUAL.replace(b";", b";\n"))[1]["s2"] == "it's;\n so"
    assert parser.parse(USUAL.replace(b"e=RED", b"e=REDDER"))[1]["e"] == "REDDER"
    with pytest.raises(TypeError):  # this one needs the strict parser
        parser.parse(USUAL.replace(b"s1=x", b's1="x"'))


FORMS = (
    *("", "x", "12", "-3", "+4", "1.5", ".5", "1e5", "999999999", "9999999999", "2147483648", "RED", "REDDER", "2"),
    *("'RED'", "dark blue", "'dark blue'", "0xff", " x", "x ", "x\t", "a b", "a\tb", "'a b'", "''", "''''", "'it''s'"),
    *("'a;b'", "' x '", '"d"', '"', "'", "[", "]", "[]", "[a]", "[a,b]", "[a, b]", "[a ,b]", "[ a ]", "['a']", "[a b]"),
    *("[1, 2]", "[a,]", "[,]", "[a,\n b]", "ü", "'ü\n'", "\x02", "\xa0", "x\xa0", "x'y", "END", "'\x01'", "x]y"),
    *(
        "[x]y",
        "(",
        "1234567890123456",
        "0" * 30,
        "1.2.3",
        ".",
        "1.",
        "1 ",
        "1.5 ",
        "RED ",
        "[a] ",
        "'x' ",
        "\n'x'",
        "\nx",
        "x\n",
    ),
)
SEPARATORS = (";", ";\n", "; ", " ;", ";\r\n", "\n;", ";;", "")
VALID = {"s1": "x", "s2": "'it''s'", "n": "12", "r": "1.5", "p": "7", "e": "RED", "l": "[a, b]", "ln": "[1]"}


@pytest.mark.parametrize("slot", [slot for slot in VALID if slot != "ln"])
@pytest.mark.parametrize("before", ["", "s2=x;"])
def test_a_shape_reads_no_form_in_its_own_way(slot: str, before: str) -> None:
    """Every form of a value and of what follows it, against a parser that has a shape for the slot."""
    if before.startswith(slot):
        before = "s1=x;"
    parser = EventParser(TABLE)
    for form in FORMS:
        for separator in SEPARATORS:
            parser._shapes.clear()
            parser._credit = parser_module._CREDIT
            parser.parse(f"A;{before}{slot}={VALID[slot]};END".encode())
            assert learned(parser) == 1
            data = f"A;{before}{slot}={form}{separator}END\n".encode()
            assert quickly(parser, data) == strictly(data), data


scalars = st.sampled_from(FORMS) | st.text(max_size=6)
odd_separators = st.sampled_from(SEPARATORS)
usual_separators = st.sampled_from([*([";"] * 6), ";\n", " ;"])


@st.composite
def event_texts(draw: st.DrawFn) -> bytes:
    """Texts near the usual order of slots: most are accepted, so shapes are met, or missed by a little."""
    names = list(draw(st.sampled_from([("s1", "s2"), ("s1", "n", "e"), ("l", "s2", "r", "p"), ("e", "s1", "l")])))
    odd = draw(st.integers(-3, len(names) - 1))  # the one slot that is odd, if any
    if draw(st.integers(0, 9)) == 0:
        names.append(draw(st.sampled_from([*TYPES, "unknown"])))
    parts = [draw(st.sampled_from([*(["A"] * 12), "AB", "\x03A", " A", "A ", "B"])), draw(usual_separators)]
    for number, name in enumerate(names):
        if number == odd:
            parts += [name, draw(st.sampled_from(["=", "=", "= ", " ="])), draw(scalars), draw(odd_separators)]
        else:
            parts += [name, "=", VALID.get(name, "x"), draw(usual_separators)]
    parts.append(draw(st.sampled_from([*(["END"] * 8), "END\n\x01", "END\n", "END\x01\x01", "EN", "END;", " END"])))
    return "".join(parts).encode(draw(st.sampled_from(["utf-8", "utf-8", "latin-1"])), "replace")


@given(st.lists(event_texts(), min_size=1, max_size=12))
@settings(max_examples=max(400, settings().max_examples))
def test_both_ways_agree_on_results_and_errors(batch: list[bytes]) -> None:
    parser = EventParser(TABLE)
    for data in batch + batch:  # the second round meets the shapes of the first
        assert quickly(parser, data) == strictly(data)


plain = st.text(max_size=12)
typed_slots = st.fixed_dictionaries(
    {},
    optional={
        "s1": plain,
        "s2": plain,
        "n": st.integers(-(2**31), 2**31 - 1),
        "r": st.floats(allow_nan=False, allow_infinity=False),
        "e": st.sampled_from(["RED", "REDDER", "dark blue"]),
        "l": st.lists(plain, max_size=3),
    },
)


@given(st.lists(typed_slots, min_size=1, max_size=8))
def test_what_was_typed_comes_back(batch: list[dict[str, object]]) -> None:
    parser = EventParser(TABLE)
    for slots in batch + batch:
        text = "A;" + "".join(f"{name}={format_value(value)};" for name, value in slots.items()) + "END"
        assert parser.parse(text.encode()) == ("A", slots)


@dataclass
class Compiles:
    count: int = 0


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> Compiles:
    counted = Compiles()
    real = parser_module._Shape

    def shape(*args: object) -> object:
        counted.count += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(parser_module, "_Shape", shape)
    return counted


def test_a_form_that_never_fits_is_given_up(compiles: Compiles) -> None:
    parser = EventParser(TABLE)
    for _ in range(20):
        parser.parse(b'A;s1="x";END')
    assert compiles.count == 3
    assert learned(parser) == 0


def test_misfits_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_module, "_SHAPES", 2)
    parser = EventParser(TABLE)
    for names in (["s1"], ["s2"], ["s1", "s2"], ["s2", "s1"], ["s1", "n"]):
        slots = "".join(f'{name}="1";' for name in names)
        parser.parse(f"A;{slots}END".encode())
        assert 1 <= len(parser._misfits) <= 2


def test_a_stranger_cannot_buy_compilations(compiles: Compiles) -> None:
    parser = EventParser(TABLE)
    parser._credit = 0
    for _ in range(63):
        parser.parse(USUAL)
    assert compiles.count == 0
    parser.parse(USUAL)
    assert compiles.count == 1


def test_shapes_are_bounded_per_class_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = EventParser(TABLE)
    orders = ["s1", "s2", "n", "r", "p", "l"]
    for first in orders:
        for second in orders:
            if first != second:
                value = {"s1": "x", "s2": "x", "n": "1", "r": "1", "p": "1", "l": "[x]"}
                parser.parse(f"A;{first}={value[first]};{second}={value[second]};END".encode())
    assert learned(parser) == parser._count == 4
    monkeypatch.setattr(parser_module, "_SHAPES", 4)
    parser.parse(b"AB;s1=x;END")
    assert learned(parser) == parser._count == 1


def test_the_latest_shape_is_tried_first() -> None:
    parser = EventParser(TABLE)
    parser.parse(b"A;s1=x;END")
    parser.parse(b"A;s2=x;END")
    assert [shape.names for shape in parser._shapes["A"]] == [("s2",), ("s1",)]
    parser.parse(b"A;s1=y;END")
    assert [shape.names for shape in parser._shapes["A"]] == [("s1",), ("s2",)]


@pytest.mark.parametrize(
    "data",
    [
        b"A;END",
        b" A;s1=x;END",
        b"A;s1='" + b"x" * 20_000 + b"';END",
        b"A;ln=[1];END",
        b"A;e=3;END",
        b"A;s1=x;s1=y;END",
        b"B;s1=x;END",
    ],
)
def test_what_no_shape_is_kept_for(data: bytes) -> None:
    parser = EventParser(TABLE)
    for _ in range(2):
        assert quickly(parser, data) == strictly(data)
    assert learned(parser) == 0


def test_a_long_text_is_always_checked_strictly() -> None:
    parser = EventParser(TABLE)
    parser.parse(b"A;s1='x';END")
    data = b"A;s1='" + "ü".encode() * 33_000 + b"';END"
    assert quickly(parser, data) == strictly(data)
    assert "more than 65536 bytes" in str(quickly(parser, data))
