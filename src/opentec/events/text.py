"""The text form of an event, `CLASS;slot=value;...;END` (tec.md 1.1, tec-2.md 1.1).

This parser alone says what is right; `opentec.events.parser` is only a faster way to the same answers.

- blanks, tabs and line ends may stand between all parts, so a newline after each `;` is fine
- a value is a bare word, which runs to the `;`; or '...' or "...", where the quote itself is doubled; or a list
  `[a, 'b;c', ""]` of such; nothing at all is the empty text
- a bare word holds no quote, no `;` and no line end; in a list no `,` and no bracket either
- a 0x03 may precede the class, and a 0x01 end the text
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NoReturn

from opentec.events.errors import EventSyntaxError
from opentec.events.names import shown

UTF8_FLAG: Final = "\x03"
LIST_LIMIT: Final = 10_000  # items of one list

WS: Final = r"[ \t\r\n]*+"
NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*+"
SINGLE: Final = r"'[^']*+(?:''[^']*+)*+'"
BARE: Final = r"(?!\[)[^;'\"\x00-\x08\x0a-\x1f]*+"
CLOSE: Final = rf"END{WS}\x01?\Z"
_DOUBLE: Final = r'"[^"]*+(?:""[^"]*+)*+"'

_class = re.compile(rf"\x03?{WS}({NAME}){WS};{WS}", re.ASCII)
_slot = re.compile(rf"({NAME}){WS}=[ \t]*+(?:({SINGLE}|{_DOUBLE}){WS};|(\[)|({BARE}){WS};){WS}", re.ASCII)
_item = re.compile(rf"{WS}(?:({SINGLE}|{_DOUBLE})|([^;,'\"\[\]\x00-\x08\x0a-\x1f]++)){WS}([,\]])", re.ASCII)
_empty_list = re.compile(rf"{WS}\]")
_after_list = re.compile(rf"{WS};{WS}")
_end = re.compile(CLOSE)
_name = re.compile(NAME)
_blanks = re.compile(WS)
_plain = re.compile(r"[A-Za-z0-9_.:/+@%-]++")


def decode_text(data: bytes) -> str:
    """The characters of an event as it was received.

    A first byte 0x03 declares UTF-8, strictly. Without it the sender's code page is unknown: UTF-8 where the bytes
    are that, else Latin-1, which loses nothing (tec.md 1.1). Raises EventSyntaxError.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        if data[:1] == b"\x03":
            before = data[: wrong.start].decode("utf-8")
            raise _error(f"byte 0x{data[wrong.start]:02x} is not UTF-8, which the event declares", before) from None
        return data.decode("latin-1")


def parse_event(text: str) -> tuple[str, dict[str, str | list[str]]]:
    """Class and slots of an event, untyped, in the order of the text.

    Raises EventSyntaxError with the place and what was expected there; a slot that is given twice is an error.
    """
    head = _class.match(text)
    if head is None:
        _explain_class(text)
    slots: dict[str, str | list[str]] = {}
    at = head.end()
    while True:
        found = _slot.match(text, at)
        if found is None:
            if _end.match(text, at):
                return head[1], slots
            _explain_slot(text, at)
        name, quoted, opening, bare = found.groups()
        if name in slots:
            raise _error(f"slot {name!r} is given twice", text, at)
        at = found.end()
        if quoted is not None:
            slots[name] = unquote(quoted)
        elif opening is None:
            slots[name] = bare.rstrip(" \t")
        else:
            slots[name], at = _parse_list(text, found.end(3), name)


def unquote(quoted: str) -> str:
    """The text inside '...' or "...", doubled quotes made single."""
    quote = quoted[0]
    return quoted[1:-1].replace(quote + quote, quote)


def _parse_list(text: str, at: int, name: str) -> tuple[list[str], int]:
    items: list[str] = []
    empty = _empty_list.match(text, at)
    if empty:
        at = empty.end()
    while not empty:
        found = _item.match(text, at)
        if found is None:
            _explain_item(text, at, name)
        quoted, bare, after = found.groups()
        items.append(bare.rstrip(" \t") if quoted is None else unquote(quoted))
        if len(items) > LIST_LIMIT:
            raise _error(f"the list of slot {name!r} has more than {LIST_LIMIT} values", text, at)
        at = found.end()
        if after == "]":
            break
    close = _after_list.match(text, at)
    if close is None:
        raise _expected(f"';' after the list of slot {name!r}", text, _skip(text, at))
    return items, close.end()


def format_value(value: object) -> str:
    """The text of a slot's value: bare where that is safe, else '...'; lists as `[a, 'b c']`."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([_format_scalar(item) for item in value]) + "]"
    return _format_scalar(value)


def _format_scalar(value: object) -> str:
    text = value if type(value) is str else str(value)
    if _plain.fullmatch(text):
        return text
    return "'" + text.replace("'", "''") + "'"


def format_event(class_name: str, slots: Mapping[str, object], end: bool = True) -> str:
    """The text of an event on one line, as a sender writes it; without `END` when `end` is False.

    `parse_event` reads it back to the same values (numbers as text). Raises EventSyntaxError for a class or slot
    name that cannot be written.
    """
    return _format(class_name, slots, ";", "END" if end else "")


def format_multiline(class_name: str, slots: Mapping[str, object]) -> str:
    """The text of an event with a line per slot, as wtdumprl and wtdumper print it (tec.md 2.3, tec-2.md 5)."""
    return _format(class_name, slots, ";\n", "END\n")


def _format(class_name: str, slots: Mapping[str, object], after: str, end: str) -> str:
    for name in (class_name, *slots):
        if not _name.fullmatch(name):
            raise EventSyntaxError(f"{shown(name)} is not a name of a class or slot (letters, digits and '_')")
    parts = [class_name, *[f"{name}={format_value(value)}" for name, value in slots.items()], end]
    return after.join(parts)


def _error(reason: str, text: str, at: int | None = None) -> EventSyntaxError:
    at = len(text) if at is None else at
    start = text.rfind("\n", 0, at) + 1
    return EventSyntaxError(reason, text.count("\n", 0, at) + 1, at - start + 1)


def _expected(what: str, text: str, at: int) -> EventSyntaxError:
    found = shown(text[at : at + 20]) if at < len(text) else "the end of the text"
    return _error(f"expected {what}, found {found}", text, at)


def _skip(text: str, at: int) -> int:
    found = _blanks.match(text, at)
    return found.end() if found else at


def _explain_class(text: str) -> NoReturn:
    at = _skip(text, 1 if text[:1] == UTF8_FLAG else 0)
    name = _name.match(text, at)
    if name is None:
        raise _expected("the name of a class", text, at)
    raise _expected(f"';' after the class {shown(name[0])}", text, _skip(text, name.end()))


def _explain_slot(text: str, at: int) -> NoReturn:
    name = _name.match(text, at)
    if name is None:
        raise _expected("a slot or END", text, at)
    equals = _skip(text, name.end())
    if text[equals : equals + 1] != "=":
        what = "nothing after END" if name[0] == "END" else f"'=' after the slot {shown(name[0])}"
        raise _expected(what, text, equals)
    start = equals + 1
    while text[start : start + 1] in (" ", "\t"):
        start += 1
    _explain_value(text, start, name[0], "")


def _explain_value(text: str, start: int, name: str, stops: str) -> NoReturn:
    """Say what is wrong with the value of a slot (or, with `stops`, of a list) that begins at `start`."""
    after = "',' or ']'" if stops else "';'"
    place = f"{after} after {'a value in the list' if stops else 'the value'} of slot {shown(name)}"
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        closed = re.compile(SINGLE if quote == "'" else _DOUBLE).match(text, start)
        if closed is None:
            raise _error(f"the quote {quote} of slot {shown(name)} is never closed", text, start)
        raise _expected(place, text, _skip(text, closed.end()))
    at = start
    while at < len(text) and text[at] not in stops + ";'\"" and (text[at] >= " " or text[at] == "\t"):
        at += 1
    if text[at : at + 1] in ("'", '"') and text[at : at + 1]:
        raise _error(
            f"a quote inside the bare value of slot {shown(name)}; write the value as '...', quotes doubled", text, at
        )
    raise _expected(place, text, _skip(text, at))


def _explain_item(text: str, at: int, name: str) -> NoReturn:
    start = _skip(text, at)
    if text[start : start + 1] in (",", "]"):
        raise _error(f"a value is missing in the list of slot {name!r}; write '' for an empty one", text, start)
    if text[start : start + 1] == "[":
        raise _error(f"a list inside the list of slot {name!r}; lists do not nest", text, start)
    _explain_value(text, start, name, ",[]")
