"""The text form of an event: every legal shape of it, and errors that point at the place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.events.errors import EventSyntaxError
from opentec.events.text import LIST_LIMIT, decode_text, format_event, format_multiline, format_value, parse_event

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
texts = st.text(max_size=30) | st.text(alphabet="a ;'\"=[],\n\t\r\\\x01\x03END", max_size=12)
values = texts | st.lists(texts, max_size=4)


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("A;END", {}),
        ("A;\nEND\n", {}),
        ("A;a=b;END\n\x01", {"a": "b"}),
        ("\x03A;a=b;END", {"a": "b"}),
        ("A;\nsource=X;\nseverity=WARNING;\nEND\n", {"source": "X", "severity": "WARNING"}),
        ("A;\r\na=b;\r\nEND\r\n", {"a": "b"}),
        (" A ; a = b ; END ", {"a": "b"}),
        ("A;a=two words ;END", {"a": "two words"}),
        ("A;a=b=c;END", {"a": "b=c"}),
        ("A;a=x[1];END", {"a": "x[1]"}),
        ("A;a='x;y';END", {"a": "x;y"}),
        ("A;msg='double ''single'' quotes';END", {"msg": "double 'single' quotes"}),
        ("A;a='''';END", {"a": "'"}),
        ('A;a="it\'s ""fine"";";END', {"a": 'it\'s "fine";'}),
        ("A;a='two\nlines';END", {"a": "two\nlines"}),
        ("A;a='END\n';END", {"a": "END\n"}),
        ("A;a=;b='';c=\"\";END", {"a": "", "b": "", "c": ""}),
        ("A;a=[];b=[ ];END", {"a": [], "b": []}),
        ("A;acl=[ admin ];END", {"acl": ["admin"]}),
        ("A;a=[a, 'b;c',\"d]\" , '', e f];END", {"a": ["a", "b;c", "d]", "", "e f"]}),
        ("A;a=[\n x,\n y\n];END", {"a": ["x", "y"]}),
        ("A;a='[x]';END", {"a": "[x]"}),
        ("A;END=1;END", {"END": "1"}),
        ("A;b=1;a=2;END", {"b": "1", "a": "2"}),
    ],
)
def test_legal_texts(text: str, slots: dict[str, object]) -> None:
    assert parse_event(text) == ("A", slots)


def test_the_order_of_slots_is_that_of_the_text() -> None:
    assert list(parse_event("A;z=1;a=2;m=3;END")[1]) == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "expected the name of a class, found the end of the text"),
        (";END", 1, 1, "expected the name of a class"),
        ("A", 1, 2, "expected ';' after the class 'A', found the end of the text"),
        ("A B;END", 1, 3, "expected ';' after the class 'A', found 'B;END'"),
        ("A;", 1, 3, "expected a slot or END, found the end of the text"),
        ("A;9=1;END", 1, 3, "expected a slot or END, found '9=1;END'"),
        ("A;a 1;END", 1, 5, "expected '=' after the slot 'a', found '1;END'"),
        ("A;END x", 1, 7, "expected nothing after END, found 'x'"),
        ("A;END\x01x", 1, 6, "expected nothing after END"),
        ("A;a=1;a=2;END", 1, 7, "slot 'a' is given twice"),
        ("A;a=x", 1, 6, "expected ';' after the value of slot 'a', found the end of the text"),
        ("A;a=1\nb=2;END", 2, 1, "expected ';' after the value of slot 'a', found 'b=2;END'"),
        ("A;a=\x02;END", 1, 5, "expected ';' after the value of slot 'a'"),
        ("A;a=don't;END", 1, 8, "a quote inside the bare value of slot 'a'"),
        ("A;a= 'x;END", 1, 6, "the quote ' of slot 'a' is never closed"),
        ('A;a="x;END', 1, 5, "the quote \" of slot 'a' is never closed"),
        ("A;a='x'y;END", 1, 8, "expected ';' after the value of slot 'a', found 'y;END'"),
        ("A;a=[x]y;END", 1, 8, "expected ';' after the list of slot 'a', found 'y;END'"),
        ("A;a=[x,,y];END", 1, 8, "a value is missing in the list of slot 'a'; write ''"),
        ("A;a=[x,\t,y];END", 1, 9, "a value is missing in the list of slot 'a'"),
        ("A;a=[x,];END", 1, 8, "a value is missing"),
        ("A;a=[[x]];END", 1, 6, "lists do not nest"),
        ("A;a=[x;END", 1, 7, "expected ',' or ']' after a value in the list of slot 'a', found ';END'"),
        ("A;a=['x' y];END", 1, 10, "expected ',' or ']' after a value in the list"),
        ("A;a=[x'y];END", 1, 7, "a quote inside the bare value"),
        ("A;a=[", 1, 6, "found the end of the text"),
        ("A;\na='x\ny';\nb;END", 4, 2, "expected '=' after the slot 'b'"),
    ],
)
def test_errors_point_at_the_place(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(EventSyntaxError) as caught:
        parse_event(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"line {line}, column {column}: " if line > 1 else f"column {column}: ")


def test_a_list_has_a_limit() -> None:
    assert len(parse_event(f"A;a=[{','.join('x' * LIST_LIMIT)}];END")[1]["a"]) == LIST_LIMIT
    with pytest.raises(EventSyntaxError, match="more than 10000 values"):
        parse_event(f"A;a=[{','.join('x' * (LIST_LIMIT + 1))}];END")


@pytest.mark.parametrize("hole", ["A;a='" + "''" * 50_000, "A;a=" + " " * 100_000 + "\x02", "A;a=[" + "x" * 100_000])
def test_a_hostile_text_costs_no_more_than_its_length(hole: str) -> None:
    with pytest.raises(EventSyntaxError):  # a backtracking expression would not come back
        parse_event(hole)


def test_bytes_that_declare_utf8_must_be_utf8() -> None:
    assert decode_text("\x03A;a=ü;END".encode()) == "\x03A;a=ü;END"
    with pytest.raises(EventSyntaxError, match="byte 0xfc is not UTF-8") as caught:
        decode_text(b"\x03A;\nb=1;a=\xfc;END")
    assert (caught.value.line, caught.value.column) == (2, 7)


def test_bytes_that_declare_nothing_are_utf8_or_latin_1() -> None:
    assert decode_text("A;a=ü;END".encode()) == "A;a=ü;END"
    assert decode_text("A;a=ü;END".encode("latin-1")) == "A;a=ü;END"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web1", "web1"),
        ("/var/log/x", "/var/log/x"),
        ("two words", "'two words'"),
        ("it's", "'it''s'"),
        ("C:;", "'C:;'"),
        ("", "''"),
        ("[x]", "'[x]'"),
        ("ü", "'ü'"),
        (3, "3"),
        (-1.5, "-1.5"),
        ([], "[]"),
        (["a", "b c", ""], "[a, 'b c', '']"),
    ],
)
def test_values_are_quoted_where_it_is_needed(value: object, text: str) -> None:
    assert format_value(value) == text


def test_one_line_and_many() -> None:
    slots = {"a": "x", "b": "y z"}
    assert format_event("A", slots) == "A;a=x;b='y z';END"
    assert format_event("A", slots, end=False) == "A;a=x;b='y z';"
    assert format_event("A", {}) == "A;END"
    assert format_multiline("A", slots) == "A;\na=x;\nb='y z';\nEND\n"


@pytest.mark.parametrize(("class_name", "slot"), [("A;B", "a"), ("", "a"), ("A", "a b"), ("A", "ä"), ("A", "a=")])
def test_what_cannot_be_a_name_is_refused(class_name: str, slot: str) -> None:
    with pytest.raises(EventSyntaxError, match="is not a name"):
        format_event(class_name, {slot: "x"})


@given(names, st.dictionaries(names, values, max_size=5))
def test_what_is_written_is_read_back(class_name: str, slots: dict[str, object]) -> None:
    assert parse_event(format_event(class_name, slots)) == (class_name, slots)
    assert parse_event(format_multiline(class_name, slots)) == (class_name, slots)


@given(st.text(alphabet="Aa=;'\"[], \n\t\x01\x03END", max_size=24))
def test_any_text_is_an_event_or_a_syntax_error(text: str) -> None:
    try:
        class_name, slots = parse_event(text)
    except EventSyntaxError as error:
        assert error.column >= 1
    else:
        assert parse_event(format_event(class_name, slots)) == (class_name, slots)
