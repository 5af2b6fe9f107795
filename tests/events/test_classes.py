"""What the classes say of an event: types, defaults, rejections with reasons."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentec.events import ClassTable, EventRejected
from opentec.events.loader import classes_of
from opentec.events.slots import POINTER_MAX, STRING_LIMIT, BadValueError


@pytest.fixture(scope="module")
def typed(root_text: str) -> ClassTable:
    """A class with a slot of every type."""
    return classes_of(
        root_text
        + """
        ENUMERATION COLOUR 5 red 1 green 9 'dark blue' END
        TEC_CLASS: All ISA EVENT DEFINES {
          text: STRING; number: INTEGER; number32: INT32; real: REAL; pointer: POINTER; colour: COLOUR;
          texts: LIST_OF STRING; numbers: LIST_OF INTEGER; colours: LIST_OF COLOUR;
          text_d: STRING, default = 'x', dup_detect = yes; texts_d: LIST_OF STRING, default = [a, 'b c'];
        };
        TEC_CLASS: Child ISA All DEFINES { text_d: dup_detect = no; severity: default = FATAL; more: INTEGER; };
        """
    )


def test_a_class_has_what_it_inherits(typed: ClassTable) -> None:
    child = typed.get("Child")
    assert child.parent == "All"
    assert child.ancestors == ("Child", "All", "EVENT")
    assert typed.ancestors["All"] == ("All", "EVENT")
    assert child.is_a("EVENT") and child.is_a("Child") and not child.is_a("Other")
    assert next(iter(child.slots)) == next(iter(typed.get("EVENT").slots))
    assert child.slots["text_d"].declared_in == "All"
    assert child.slots["more"].declared_in == "Child"
    assert typed.get("All").dup_slots == ("text_d",)
    assert child.dup_slots == ()
    assert repr(child) == "<EventClass Child ISA All ISA EVENT>"


def test_every_slot_has_a_default(typed: ClassTable) -> None:
    defaults = typed.get("Child").defaults
    assert set(defaults) == set(typed.get("Child").slots)
    assert (defaults["text"], defaults["number"], defaults["real"], defaults["pointer"]) == ("", 0, 0.0, 0)
    assert type(defaults["real"]) is float
    assert defaults["colour"] == "red"  # the member that stands first, not the least
    assert (defaults["texts"], defaults["texts_d"], defaults["text_d"]) == ([], ["a", "b c"], "x")
    assert (defaults["severity"], typed.get("All").defaults["severity"]) == ("FATAL", "WARNING")
    assert (defaults["status"], defaults["credibility"], defaults["acl"]) == ("OPEN", 1, ["admin"])


@pytest.mark.parametrize(
    ("slot", "raw", "value"),
    [
        ("text", "", ""),
        ("text", 5, "5"),
        ("text", "ü" * (STRING_LIMIT // 2), "ü" * (STRING_LIMIT // 2)),
        ("number", "-7", -7),
        ("number", "+7", 7),
        ("number", 7, 7),
        ("number", "2147483647", 2**31 - 1),
        ("number32", "-2147483648", -(2**31)),
        ("real", "1", 1.0),
        ("real", "-.5e-3", -0.0005),
        ("real", 2.5, 2.5),
        ("pointer", "0xFf", 255),
        ("pointer", "12", 12),
        ("pointer", str(POINTER_MAX), POINTER_MAX),
        ("colour", "green", "green"),
        ("colour", "1", "green"),
        ("colour", 9, "dark blue"),
        ("texts", ["a", ""], ["a", ""]),
        ("texts", "a", ["a"]),
        ("texts", "", []),
        ("numbers", ["1", 2], [1, 2]),
        ("colours", ["5", "green"], ["red", "green"]),
    ],
)
def test_values_take_the_type_of_their_slot(typed: ClassTable, slot: str, raw: object, value: object) -> None:
    checked = typed.check("All", {slot: raw})
    assert checked == {slot: value}
    assert type(checked[slot]) is type(value)
    assert typed.get("All").value(slot, raw) == value


@pytest.mark.parametrize(
    ("slot", "raw", "reason", "suggestion"),
    [
        ("text", ["a"], "a list does not fit the type STRING", ""),
        ("text", True, "True does not fit the type STRING", ""),
        ("text", None, "None does not fit", ""),
        ("text", "ü" * (STRING_LIMIT // 2 + 1), "more than 65536 bytes", ""),
        ("text", "ab\ud800", "character 3 is half of a surrogate pair", ""),
        ("text", "x" * (STRING_LIMIT + 1), "more than 65536 bytes", ""),
        ("number", "", "'' is not an INTEGER", ""),
        ("number", "1.5", "'1.5' is not an INTEGER", ""),
        ("number", "1_0", "not an INTEGER", ""),
        ("number", "٣", "not an INTEGER", ""),
        ("number", "9" * 5000, "not an INTEGER", ""),
        ("number", "2147483648", "2147483648 is outside -2147483648 to 2147483647", ""),
        ("number32", "-2147483649", "is outside", ""),
        ("real", "nan", "'nan' is not a REAL", ""),
        ("real", "1e999", "outside the range of a REAL", ""),
        ("real", "1" * 500, "is not a REAL", ""),
        ("pointer", "x", "'x' is not a POINTER", ""),
        ("pointer", "-1", "outside 0 to", ""),
        ("pointer", "0xFFFFFFFFFFFFFFFF", "outside 0 to", ""),
        ("colour", "gren", "'gren' is not a COLOUR (red, green, dark blue)", "green"),
        ("colour", "GREEN", "is not a COLOUR", "green"),
        ("colour", "2", "'2' is not a COLOUR", ""),
        ("colours", ["red", "blu"], "'blu' is not a COLOUR", ""),
        ("numbers", ["1", "x"], "'x' is not an INTEGER", ""),
        ("numbers", [["1"]], "a list does not fit", ""),
        ("severty", "x", "class All has no slot 'severty'", "severity"),
        ("x" * 500, "x", "class All has no slot 'xxx", ""),
        ("event_handle", "1", "slot 'event_handle' is assigned by the server", ""),
        ("date_reception", "1", "slot 'date_reception' is assigned by the server", ""),
        ("server_handle", "1", "slot 'server_handle' is assigned by the server", ""),
    ],
)
def test_what_does_not_fit_is_rejected(typed: ClassTable, slot: str, raw: object, reason: str, suggestion: str) -> None:
    with pytest.raises(EventRejected) as caught:
        typed.check("All", {"msg": "fine", slot: raw})
    assert reason in caught.value.reason
    assert caught.value.suggestion == suggestion
    assert len(str(caught.value)) < 300


def test_a_reason_names_slot_and_class(typed: ClassTable) -> None:
    with pytest.raises(EventRejected) as caught:
        typed.check("Child", {"severity": "FATL"})
    assert str(caught.value) == (
        "slot 'severity' of class Child: 'FATL' is not a SEVERITY (UNKNOWN, HARMLESS, WARNING, MINOR, CRITICAL, FATAL)"
        "; did you mean 'FATAL'?"
    )
    with pytest.raises(EventRejected, match=r"slot 'number' of class All: 'x' is not an INTEGER"):
        typed.get("All").value("number", "x")
    with pytest.raises(EventRejected, match=r"class All has no slot 'nmber'; did you mean 'number'"):
        typed.get("All").value("nmber", "x")


def test_an_unknown_class_is_rejected(table: ClassTable) -> None:
    with pytest.raises(EventRejected, match="class 'NT_Dsik_Full' is not defined; did you mean 'NT_Disk_Full'"):
        table.check("NT_Dsik_Full", {})
    with pytest.raises(EventRejected, match="is not defined"):
        table.get("x" * 10_000)


def test_closed_and_other_kept_slots_may_be_sent(table: ClassTable) -> None:
    raw = {"status": "CLOSED", "administrator": "root", "acl": ["admin"], "credibility": "0", "cause_event_handle": "2"}
    assert table.check("NT_Disk_Full", raw) == {**raw, "credibility": 0, "cause_event_handle": 2}


def test_the_server_may_give_what_senders_may_not(typed: ClassTable) -> None:
    assert typed.get("All").value("event_handle", 3) == 3


def test_numbers_order_members(table: ClassTable) -> None:
    assert table.number("SEVERITY", "FATAL") > table.number("SEVERITY", "CRITICAL")
    assert table.enumerations["STATUS"].number("CLOSED") == 30
    with pytest.raises(EventRejected, match="'FATL' is not a SEVERITY"):
        table.number("SEVERITY", "FATL")
    with pytest.raises(EventRejected, match="'SEVERTY' is not defined; did you mean 'SEVERITY'"):
        table.number("SEVERTY", "FATAL")
    with pytest.raises(BadValueError):
        table.enumerations["STATUS"].member("")
    assert table.enumerations["STATUS"].member("CLOSED") == "CLOSED"


def test_long_enumerations_are_cut_in_messages(root_text: str) -> None:
    many = " ".join(f"{n} m{n}" for n in range(40))
    table = classes_of(f"{root_text} ENUMERATION M {many} END TEC_CLASS: A ISA EVENT DEFINES {{ m: M; }};")
    with pytest.raises(EventRejected, match=r"m11, \.\.\.\)"):
        table.check("A", {"m": "zz"})


def test_types_have_names(typed: ClassTable) -> None:
    slots = typed.get("All").slots
    assert [str(slots[name].type) for name in ("text", "colour", "colours", "numbers")] == [
        "STRING",
        "COLOUR",
        "LIST_OF COLOUR",
        "LIST_OF INTEGER",
    ]
    assert slots["pointer"].type.is_integer and not slots["real"].type.is_integer


@pytest.mark.parametrize("codec", [msgspec.msgpack, msgspec.json])
def test_a_table_comes_back_from_plain_data(table: ClassTable, typed: ClassTable, codec: object) -> None:
    for one in (table, typed):
        back = ClassTable.from_data(codec.decode(codec.encode(one.to_data())))  # type: ignore[attr-defined]
        assert back.to_data() == one.to_data()
        assert list(back.classes) == list(one.classes)
        assert back.ancestors == one.ancestors
        for name, cls in one.classes.items():
            assert back.classes[name].slots == cls.slots
            assert list(back.classes[name].slots) == list(cls.slots)
            assert back.classes[name].defaults == cls.defaults
            assert back.classes[name].dup_slots == cls.dup_slots
    assert json.dumps(table.to_data())  # nothing but plain data
    restored = ClassTable.from_data(typed.to_data())
    assert restored.check("Child", {"colour": "1", "numbers": "4"}) == {"colour": "green", "numbers": [4]}


@given(st.integers(-(2**40), 2**40))
def test_integers_are_taken_up_to_32_bits(number: int) -> None:
    convert = _INTEGER_CLASS.get("EVENT").converters["repeat_count"]
    if -(2**31) <= number < 2**31:
        assert convert(str(number)) == number
    else:
        with pytest.raises(BadValueError):
            convert(str(number))


_INTEGER_CLASS = ClassTable.from_data(
    {
        "enumerations": [],
        "classes": [["EVENT", None, [["repeat_count", ["INTEGER", None, False], 0, False, True, "EVENT"]]]],
    }
)
