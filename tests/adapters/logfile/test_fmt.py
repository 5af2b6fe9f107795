"""Format files: values, inheritance, late binding, and errors with their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from opentec.adapters.logfile.fmt import FILE_LIMIT, Context, Format, parse_formats, read_formats
from opentec.events.errors import SourceErrors

CONTEXT = Context("labelled", "adapter", "/var/log/x")
BASE = """
// a comment
FORMAT Base
%t %s %s*

// another
hostname $2
date $1
msg $3
source LOGFILE
END
"""


def formats(text: str) -> list[Format]:
    return parse_formats(text, "x.fmt")


def slots(text: str, line: str) -> dict[str, str]:
    """Slots of the last format."""
    format_ = formats(text)[-1]
    match = format_.pattern.match(line)
    assert match is not None
    return format_.slots_of(match, line, CONTEXT)


def errors(text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        formats(text)
    return [str(error).split("\n")[0] for error in caught.value.errors]


def test_values() -> None:
    text = """FORMAT A
%s %s*
one $1
two "two words"
three bare
four LABEL
five FILENAME
six "say \\"it\\""
-hidden $2
seven PRINTF("<%s> 100%% %s|%s|%s", hidden, one, "a, b", $2)
eight PRINTF("nothing")
nine ""
-file FILENAME
ten PRINTF("%s", file)
END"""
    assert slots(text, "x y z") == {
        "one": "x",
        "two": "two words",
        "three": "bare",
        "four": "labelled",
        "five": "/var/log/x",
        "six": 'say "it"',
        "seven": "<y z> 100% x|a, b|y z",
        "eight": "nothing",
        "nine": "",
        "ten": "/var/log/x",
    }


def test_default_is_what_the_adapter_knows_and_else_left_to_the_class() -> None:
    names = ("hostname", "origin", "adapter_host", "source", "msg", "date", "severity")
    text = "FORMAT A\nx %t\n" + "".join(f"{name} DEFAULT\n" for name in names) + "END"
    line = "x Mar  1 08:00:00"
    assert slots(text, line) == {
        "hostname": "labelled",
        "origin": "adapter",
        "adapter_host": "adapter",
        "source": "LOGFILE",
        "msg": line,
        "date": "Mar  1 08:00:00",
    }
    assert slots("FORMAT A\nx %s\ndate DEFAULT\nEND", "x y") == {}


def test_follows_inherits_mappings_but_not_the_string() -> None:
    text = BASE + "FORMAT Child FOLLOWS Base\n%t %s su: %s to %s\nmsg $4\nuser $3\nEND\n"
    assert slots(text, "Mar  1 08:00:00 web1 su: alice to root") == {
        "hostname": "web1",
        "date": "Mar  1 08:00:00",
        "msg": "root",
        "source": "LOGFILE",
        "user": "alice",
    }


def test_follows_several_and_the_last_of_a_name() -> None:
    text = "FORMAT A\nx\na 1\nEND\nFORMAT A\ny\na 2\nb 2\nEND\nFORMAT B\nz\nb 3\nEND\nFORMAT C FOLLOWS A, B\nw\nEND\n"
    assert slots(text, "w") == {"a": "2", "b": "3"}


def test_printf_is_bound_after_all_inheriting() -> None:
    text = """FORMAT Parent
%s %s
-part "parent's"
msg PRINTF("%s message", part)
silo PRINTF("2%s", number)
-number $1
END
FORMAT Child FOLLOWS Parent
%s %s child
-part $2
END"""
    assert slots(text, "7 own child") == {"msg": "own message", "silo": "27"}


def test_a_slot_may_print_a_temporary_of_its_own_name() -> None:
    assert slots('FORMAT A\n%s\n-msg $1\nmsg PRINTF("<%s>", msg)\nEND', "x") == {"msg": "<x>"}


def test_discard_and_order() -> None:
    found = formats(BASE + "FORMAT *DISCARD*\nnoise%s*\nEND  \n\n")
    assert [each.discards for each in found] == [False, True]
    assert [each.place for each in found] == ["x.fmt:3", "x.fmt:12"]


def test_regex_entries() -> None:
    text = r"""REGEX Disk
disk (\w+)(?: at (\d+)%)?
device $1
used $2
msg PRINTF("disk %s", device)
END"""
    assert slots(text, "a disk sda is full") == {"device": "sda", "used": "", "msg": "disk sda"}


def test_windows_line_ends() -> None:
    assert slots("FORMAT A\r\n%s\r\nmsg $1\r\nEND\r\n", "x") == {"msg": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file defines no format; a format begins with FORMAT class"),
        ("// only\n", "1:1: the file defines no format"),
        ("FROMAT A\nx\nEND", "1:1: expected FORMAT or REGEX, found 'FROMAT'; the form is"),
        ("FORMAT 1A\nx\nEND", "1:8: '1A' is not a class name"),
        ("FORMAT A\nx\n", "1:1: the format of A has no END"),
        ("FORMAT A\nx\nFORMAT B\ny\nEND", "1:1: the format of A has no END"),
        ("FORMAT A\nEND", "2:1: the FORMAT has no format string"),
        ("FORMAT A", "1:1: the FORMAT has no format string"),
        ("FORMAT A\nbad %x here\nEND", "2:5: '%x' is not a specifier; the specifiers are"),
        ("REGEX A\nx(\nEND", "2:2: the regular expression is wrong"),
        (BASE + "FORMAT B FOLLOWS Bsae\nx\nEND", "12:18: no format 'Bsae' so far; did you mean 'Base'?"),
        ("FORMAT B FOLLOWS Later\nx\nEND", "1:18: no format 'Later' so far; a format follows one that stands before"),
        ("FORMAT *DISCARD*\nx\nmsg $1\nEND", "3:1: *DISCARD* takes no mapping lines"),
        (BASE + "FORMAT *DISCARD* FOLLOWS Base\nx\nEND", "12:18: *DISCARD* has no slots to inherit"),
        ("FORMAT A\nx\nmsg\nEND", "3:1: 'msg' is not `slot value`"),
        ("FORMAT A\nx\nmsg two words\nEND", '3:5: a constant of several words needs quotes; write "two words"'),
        ('FORMAT A\nx\nmsg "open\nEND', "3:5: the constant has no closing quote"),
        ("FORMAT A\nx\nmsg $x\nEND", "3:5: '$x' is not $ and the number of a specifier"),
        ("FORMAT A\nx %s\n  msg $2\nEND", "3:7: msg takes $2, which does not exist; 'x %s' has 1 specifiers"),
        ("FORMAT A\nx %s\nmsg $0\nEND", "3:5: msg takes $0"),
        (BASE + "FORMAT B FOLLOWS Base\nx %s\nEND", "12:1: hostname (line 7) takes $2"),
        ('FORMAT A\nx\nmsg PRINTF("%s")\nEND', "3:5: PRINTF has 1 times %s and 0 arguments"),
        ('FORMAT A\nx\nmsg PRINTF("%d", "1")\nEND', "3:5: PRINTF knows %s only, not '%d'"),
        (
            'FORMAT A\nx\nmsg PRINTF("%s", usr)\n-user "u"\nEND',
            "3:5: PRINTF prints 'usr', which is not mapped; did you",
        ),
        ('FORMAT A\nx\nmsg PRINTF("%s", $1)\nEND', "3:5: PRINTF prints '$1', which is not mapped"),
        ('FORMAT A\nx\nmsg PRINTF("%s", msg)\nEND', "3:5: the PRINTF of msg contains itself"),
        ("FORMAT A\nx\nmsg PRINTF(%s, msg)\nEND", "3:5: this PRINTF cannot be read"),
    ],
)
def test_errors_name_the_place(text: str, message: str) -> None:
    assert errors(text)[0].startswith(f"x.fmt:{message}")


def test_all_errors_come_at_once() -> None:
    assert len(errors("FORMAT A\n%x\nmsg two words\nEND\nnonsense\nFORMAT B\ny\nmsg $1\nEND")) == 4


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.fmt"
    path.write_text(BASE)
    assert read_formats(path)[0].place == f"{path}:3"
    path.write_bytes(b"//" + b"x" * FILE_LIMIT)
    with pytest.raises(SourceErrors, match="more than"):
        read_formats(path)
