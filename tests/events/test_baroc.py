"""BAROC: what is accepted, and errors with file, line, column and hint."""

from __future__ import annotations

import pytest

from opentec.events import ClassTable, SourceErrors, parse_baroc
from opentec.events.baroc import ClassDeclaration, EnumerationDeclaration
from opentec.events.loader import classes_of


def one_class(text: str) -> ClassDeclaration:
    (declaration,) = parse_baroc(text, "x.baroc")
    assert isinstance(declaration, ClassDeclaration)
    return declaration


def errors_of(text: str) -> list[str]:
    """`line:column: message; hint` of each error, without the offending line."""
    with pytest.raises(SourceErrors) as caught:
        classes_of(text, "x.baroc")
    return [str(error).partition("\n")[0].removeprefix("x.baroc:") for error in caught.value.errors]


PERSON = "TEC_CLASS:Person ISA EVENT DEFINES{name:STRING,dup_detect=yes;city:STRING;};"


@pytest.mark.parametrize(
    "text",
    [
        PERSON,
        PERSON + "END",
        PERSON.removesuffix(";"),
        PERSON.replace(":", " : ")
        .replace(",", " ,\n")
        .replace("=", "\t=\n")
        .replace(";", " ; ")
        .replace("{", " {\r\n"),
        "# before\n" + PERSON.replace(";", '; # it\'s "here"\n') + " END # after",
    ],
)
def test_blanks_comments_and_end_are_free(text: str) -> None:
    person = one_class(text)
    assert (person.name.text, person.parent and person.parent.text) == ("Person", "EVENT")
    assert [(slot.name.text, slot.type and slot.type.text) for slot in person.slots] == [
        ("name", "STRING"),
        ("city", "STRING"),
    ]
    assert [(facet.name.text, getattr(facet.value, "text", None)) for facet in person.slots[0].facets] == [
        ("dup_detect", "yes")
    ]


@pytest.mark.parametrize(
    "text", ["TEC_CLASS: A ISA B; END", "TEC_CLASS: A ISA B END", "TEC_CLASS : A ISA B DEFINES { }; END"]
)
def test_a_class_may_define_nothing(text: str) -> None:
    assert one_class(text).slots == []


def test_enumerations() -> None:
    (declaration,) = parse_baroc("ENUMERATION S\n 0 A\n 0x10 'b c'\n -1 D END", "x.baroc")
    assert isinstance(declaration, EnumerationDeclaration)
    assert [(number.text, name.text) for number, name in declaration.members] == [
        ("0", "A"),
        ("16", "b c"),
        ("-1", "D"),
    ]


def test_names_have_places() -> None:
    person = one_class("\n\n  TEC_CLASS: A ISA B DEFINES {\n    x: STRING, default = 'y'; };")
    assert (person.name.line, person.name.column) == (3, 14)
    assert (person.slots[0].name.line, person.slots[0].name.column) == (4, 5)
    value = person.slots[0].facets[0].value
    assert not isinstance(value, list) and (value.line, value.column, value.quoted) == (4, 26, True)


def test_defaults_of_every_form(root_text: str) -> None:
    table = classes_of(
        root_text
        + """TEC_CLASS: A ISA EVENT DEFINES {
            a: STRING, default = bare; b: STRING, default = "double ""quoted"" # no comment";
            c: STRING, default = 'it''s';
            d: INTEGER, default = 0x10; e: REAL, default = -1.5e3; f: LIST_OF STRING, default = [];
            g: LIST_OF INTEGER, default = [1, '2']; h: LIST_OF STRING, default = x; i: SEVERITY, default = 60;
            j: STRING, default = 10; k: POINTER, default = 0xff;
        };"""
    )
    defaults = table.get("A").defaults
    assert [defaults[name] for name in "abcdefghijk"] == [
        "bare",
        'double "quoted" # no comment',
        "it's",
        16,
        -1500.0,
        [],
        [1, 2],
        ["x"],
        "FATAL",
        "10",
        255,
    ]


def test_a_slot_may_be_restated(root_text: str) -> None:
    table = classes_of(
        root_text
        + """TEC_CLASS: A ISA EVENT DEFINES { severity: SEVERITY, default = FATAL; msg: dup_detect = YES, parse=no; };
             TEC_CLASS: B ISA A DEFINES { severity: dup_detect = yes; msg: dup_detect = no; };"""
    )
    a, b = table.get("A"), table.get("B")
    assert (a.slots["msg"].dup_detect, a.slots["msg"].parse, a.dup_slots) == (True, False, ("msg",))
    assert (b.dup_slots, b.defaults["severity"], b.slots["msg"].parse) == (("severity",), "FATAL", False)
    assert b.slots["severity"].declared_in == "EVENT"


def end(root_text: str, text: str) -> list[str]:
    """Errors of `text` behind the shipped root.baroc, lines counted from 1 in `text`."""
    lines = root_text.count("\n")
    found = []
    for error in errors_of(root_text + text):
        line, _, rest = error.partition(":")
        found.append(f"{int(line) - lines}:{rest}")
    return found


IN = "TEC_CLASS: A ISA EVENT DEFINES { "


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("TEC_CLASS: A ISA EVNT;", "1:18: the parent 'EVNT' of class A is not defined; did you mean 'EVENT'?"),
        ("TEC_CLASS: A ISA Zz;", "1:18: the parent 'Zz' of class A is not defined"),
        ("TEC_CLASS: A;", "1:12: class A has no parent; ISA EVENT"),
        (f"{IN}a: STRNG; }};", "1:37: the type 'STRNG' of slot 'a' is not defined; did you mean 'STRING'?"),
        (f"{IN}a: LIST_OF Qq; }};", "1:45: the type 'Qq' of slot 'a' is not defined"),
        (
            f"{IN}severty: default = FATAL; }};",
            "1:34: slot 'severty' has no type, and no parent of class A defines it; did",
        ),
        (
            f"{IN}zz: default = FATAL; }};",
            "1:34: slot 'zz' has no type, and no parent of class A defines it; write a type",
        ),
        (f"{IN}a: STRING; a: STRING; }};", "1:45: slot 'a' is defined twice in class A"),
        (f"{IN}class: STRING; }};", "1:34: a slot cannot be named 'class'"),
        (f"{IN}msg: INTEGER; }};", "1:39: slot 'msg' is STRING in class EVENT and cannot become INTEGER; leave"),
        (f"{IN}acl: STRING; }};", "1:39: slot 'acl' is LIST_OF STRING in class EVENT and cannot become STRING"),
        (f"{IN}severity: default = FATL; }};", "1:44: the default of slot 'severity': 'FATL' is not a SEVERITY"),
        (f"{IN}a: INTEGER, default = x; }};", "1:46: the default of slot 'a': 'x' is not an INTEGER"),
        (f"{IN}a: STRING, default = [x]; }};", "1:45: the default of slot 'a': a list does not fit the type STRING"),
        (f"{IN}a: STRING, dupdetect = yes; }};", "1:45: slot 'a' has an unknown facet 'dupdetect'; did you mean 'dup_"),
        (f"{IN}a: STRING, qqq = yes; }};", "1:45: slot 'a' has an unknown facet 'qqq'; the facets are default, dup_"),
        (f"{IN}a: STRING, parse = maybe; }};", "1:45: facet 'parse' of slot 'a' is either yes or no"),
        (f"{IN}a: STRING, parse = [no]; }};", "1:45: facet 'parse' of slot 'a' is either yes or no"),
        (f"{IN}a: STRING, parse=no, parse=no; }};", "1:55: facet 'parse' of slot 'a' is given twice"),
        (f"{IN}a: STRING, STRING; }};", "1:45: slot 'a' has an unknown facet 'STRING'"),
        (f"{IN}a: dup_detect=no, STRING; }};", "1:34: slot 'a' has no type"),
        ("TEC_CLASS: EVENT ISA EVENT;", "1:12: 'EVENT': names have already been defined; first defined in x.baroc:"),
        ("TEC_CLASS: INT32 ISA EVENT;", "1:12: 'INT32': names have already been defined; it is the name of a basic"),
        ("ENUMERATION STATUS 1 A END", "1:13: 'STATUS': names have already been defined"),
        ("ENUMERATION E 1 A 1 B END", "1:19: the number 1 is that of 'A' already"),
        ("ENUMERATION E 1 A 2 A END", "1:21: member 'A' is given twice"),
        ("ENUMERATION E 1.5 A END", "1:15: '1.5' is not an integer of 32 bits"),
        ("ENUMERATION E 9999999999 A END", "1:15: '9999999999' is not an integer of 32 bits"),
        # syntax
        ("ENUMERATION E END", "1:15: expected a number, found 'END'"),
        ("TEC_CLAS: A ISA B;", "1:1: expected ENUMERATION or TEC_CLASS, found 'TEC_CLAS'; did you mean TEC_CLASS?"),
        (
            "TEC_CLASS: A IS EVENT;",
            "1:14: expected ';' or DEFINES or END or ISA or the next declaration, found 'IS'; did",
        ),
        ("TEC_CLASS A ISA EVENT;", "1:11: expected ':', found 'A'"),
        (f"{IN}a STRING; }};", "1:36: expected ':', found 'STRING'"),
        (f"{IN}a: STRING }};", "1:44: expected ',' or ';', found '}'"),
        (f"{IN}a: STRING default = 3; }};", "1:44: expected ',' or ';', found 'default'"),
        (f"{IN}a: STRING; ", "1:44: the declaration that begins in line 60 is not complete: expected '}' or a name"),
        (f"{IN}a: STRING, default = N/A; }};", "1:56: expected ',' or ';', found '/'; write a value that holds / in"),
        (
            f"{IN}a: STRING, default = [[x]]; }};",
            "1:56: expected ']' or a name or a number or a quoted text, found '['",
        ),
        (f"{IN}a: STRING, default = 'x; }};", "1:55: the quote is not closed in this line; a text ends with the quote"),
        ('"x', "1:1: the quote is not closed in this line"),
        ("% text", "1:1: expected ENUMERATION or TEC_CLASS, found '%'; a comment begins with #"),
        ("TEC_CLASS: A ISA EVENT; = x", "1:25: expected ENUMERATION or TEC_CLASS, found '='"),
        (f"{IN}a: STRING; }}; x;", "1:48: expected ENUMERATION or TEC_CLASS, found 'x'"),
        (f"{IN}a: STRING; {{ }};", "1:45: expected '}' or a name, found '{'"),
        ("TEC_CLASS: A ISA EVENT DEFINES a: STRING; };", "1:32: expected '{', found 'a'"),
    ],
)
def test_an_error_names_its_place_and_the_next_step(root_text: str, text: str, error: str) -> None:
    found = end(root_text, text)
    assert found[0].startswith(error)
    assert all("is not complete" in other for other in found[1:])


def test_all_errors_of_a_run_are_found(root_text: str) -> None:
    found = end(
        root_text,
        "TEC_CLASS: A ISA EVENT DEFINES { a: STRNG; b STRING; c: STRING c; severity: default = X; };\n"
        "TEC_CLASS: B ISA A DEFINES { b: default = 3; msg: REAL; };\n"
        "TEC_CLASS: C ISSA A;\n"
        "TEC_CLASS: D ISA C; TEC_CLASS: E ISA D;\n"
        "TEC_CLASS: F ISA G;\n",
    )
    # b and C exist for what follows, though their own text is wrong: no error is a consequence of another
    assert [":".join(error.split(":")[:2]) for error in found] == [
        "1:37",
        "1:46",
        "1:64",
        "1:77",
        "2:51",
        "3:14",
        "5:18",
    ]


def test_a_definition_comes_before_its_use(root_text: str) -> None:
    (parent, kind) = end(
        root_text,
        "TEC_CLASS: A ISA B; TEC_CLASS: C ISA EVENT DEFINES { e: E; };\nTEC_CLASS: B ISA EVENT;\nENUMERATION E 1 X END",
    )
    assert parent.startswith("1:18: the parent 'B' of class A is not defined; it is defined later, in x.baroc:")
    assert kind.startswith("1:57: the type 'E' of slot 'e' is not defined; it is defined later, in x.baroc:")


def test_the_error_shows_the_line_and_a_caret() -> None:
    with pytest.raises(SourceErrors) as caught:
        parse_baroc("TEC_CLASS: A ISA EVENT\n\tDEFINES [ };\r\n", "x.baroc")
    assert str(caught.value) == "x.baroc:2:10: expected '{', found '['\n     DEFINES [ };\n             ^"


def test_the_server_needs_a_base(root_text: str) -> None:
    assert errors_of("") == ["1:1: class EVENT is not defined; root.baroc, which defines it, comes first"]
    (found,) = errors_of(root_text.replace("msg_index:", "message_index:"))
    assert "class EVENT lacks what the server needs: msg_index; compare it with the root.baroc" in found
    (found,) = errors_of(root_text.replace("30 CLOSED", "30 DONE"))
    assert "enumeration STATUS lacks what the server needs: CLOSED" in found
    (found,) = errors_of(root_text.replace("  EVENT\n", "  EVENT ISA Thing\n"))
    assert "EVENT is the class that all others inherit from; it has no parent" in found


def test_words_before_the_first_declaration() -> None:
    with pytest.raises(SourceErrors, match=r"x\.baroc:1:1: expected ENUMERATION or TEC_CLASS, found 'CLASS'"):
        parse_baroc("CLASS: A;\nTEC_CLASS: B ISA EVENT;", "x.baroc")


def test_a_broken_base_is_one_error(root_text: str) -> None:
    assert len(errors_of(root_text.replace("msg_index:       INTEGER;", "msg_index INTEGER;"))) == 1
    assert len(errors_of(root_text.replace("  DEFINES {", "  DEFINES "))) == 1


def test_a_file_of_many_classes_is_read(root_text: str) -> None:
    classes = "".join(f"TEC_CLASS: C{n} ISA EVENT DEFINES {{ s{n}: STRING; }};\n" for n in range(200))
    table: ClassTable = classes_of(root_text + classes)
    assert len(table.classes) == 201
