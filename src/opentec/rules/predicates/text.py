"""Texts: formats, joining, cutting, characters. Numbers count as the text that shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from opentec.rules.arithmetic import WORD
from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.define import define
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import LIST_LIMIT, TEXT_LIMIT, Ref, RuleError, deref, resolve, show, undo, unify

_DIRECTIVE: Final = re.compile(r"%(?P<flags>[-+ 0#]{0,4}\d{0,3}(?:\.\d{1,3})?)(?:l{0,2}|h)(?P<kind>[%sdiufgexXc])")
_NUMERIC: Final = {"d": int, "i": int, "u": int, "x": int, "X": int, "c": int, "f": float, "g": float, "e": float}
SCAN: Final = 4  # parts of a text that are looked at for one step
CHARACTERS: Final = 1_000  # that split_string tells from others
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)


def _is_character(code: int) -> bool:
    return 0 < code < 0x110000 and not 0xD800 <= code < 0xE000  # a lone surrogate cannot be stored


class Format:
    """A text with C's directives: %s %d %i %u %f %g %e %x %X %c %%, with flags, width and precision."""

    def __init__(self, text: str) -> None:
        self._pieces: list[str | tuple[str, str]] = []
        end = 0
        for found in _DIRECTIVE.finditer(text):
            self._pieces += [text[end : found.start()], (found["flags"], found["kind"])]
            end = found.end()
        self._pieces.append(text[end:])
        plain = "".join(piece for piece in self._pieces if isinstance(piece, str))
        if "%" in plain:
            raise RuleError(f"the format {text[:80]!r} has a % that is no directive; write %% for the sign itself")

    def fill(self, next_argument: Callable[[], Any]) -> str:
        """The text with its directives replaced. Raises RuleError when an argument does not fit."""
        return joined(self._filled(next_argument))

    def _filled(self, next_argument: Callable[[], Any]) -> Iterator[str]:
        for piece in self._pieces:
            if isinstance(piece, str):
                yield piece
            else:
                yield "%" if piece[1] == "%" else self._one(*piece, next_argument())

    def _one(self, flags: str, kind: str, argument: Any) -> str:
        if kind == "s":
            return str(f"%{flags}s" % show(argument))
        try:
            number = _NUMERIC[kind](resolve(argument))
            if kind == "c" and not _is_character(number):
                raise RuleError(f"{show(argument)[:80]} is the code of no character")
            return str(f"%{flags}{'d' if kind in 'iu' else kind}" % number)
        except (TypeError, ValueError, OverflowError):
            raise RuleError(f"%{kind} needs a number, not {show(argument)[:80]!r}") from None


def arguments_of(values: Any) -> Callable[[], Any]:
    """Hands out the items of a list (or one single value) in turn; raises RuleError when there are no more."""
    values = deref(values)
    rest = iter(values if type(values) is list else [values])

    def next_argument() -> Any:
        try:
            return deref(next(rest))
        except StopIteration:
            raise RuleError("the format has more directives than there are arguments") from None

    return next_argument


def limited(text: str) -> str:
    if len(text) > TEXT_LIMIT:
        raise RuleError(f"a text of {len(text)} characters is longer than {TEXT_LIMIT}, the most that a rule may build")
    return text


def joined(pieces: Iterable[str], between: str = "") -> str:
    """The pieces as one text. Raises RuleError for one that is too long, before it is built."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece) + len(between)
        if size > TEXT_LIMIT + len(between):
            raise RuleError(f"a text is longer than {TEXT_LIMIT} characters, the most that a rule may build")
    return between.join(found)


def text_of(value: Any, what: str) -> str:
    """A text, or a number as text; raises RuleError for everything else."""
    value = deref(value)
    if type(value) is str:
        return value
    if type(value) is int or type(value) is float:
        return str(value)
    raise RuleError(f"{what} needs a text, not {show(value)!r}")


def number_of(text: str) -> int | float | None:
    """The number that a text shows, if it is one of the language."""
    if not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal():
        whole = int(text)
        return whole if -WORD <= whole < WORD else None
    real = float(text)
    return real if math.isfinite(real) else None


def _sprintf(run: Evaluation, result: Any, text: str, values: Any) -> bool:
    return unify(result, Format(text).fill(arguments_of(values)), run.trail)


def _atomconcat(run: Evaluation, left: Any, right: Any, result: Any) -> bool:
    return unify(result, limited(show(left) + show(right)), run.trail)


def _atomconcat_list(run: Evaluation, values: Any, result: Any) -> bool:
    if type(values) is not list:
        raise RuleError(f"atomconcat takes a list, not {show(values)!r}")
    return unify(result, joined(map(show, values)), run.trail)


def _inttoatom(run: Evaluation, number: Any, text: Any) -> bool:
    number, text = deref(number), deref(text)
    if type(number) is int:
        return unify(text, str(number), run.trail)
    if type(text) is str and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return unify(number, int(text), run.trail)
    return False


def _length(run: Evaluation, text: Any, length: Any) -> bool:
    return unify(length, len(text_of(text, "atom_length")), run.trail)


def _substring(run: Evaluation, text: Any, start: int, length: int, result: Any) -> bool:
    whole = text_of(text, "substring")
    if start < 1 or length < 0 or start - 1 + length > len(whole):
        return False
    return unify(result, whole[start - 1 : start - 1 + length], run.trail)


def _sub_atom(run: Evaluation, text: Any, before: Any, length: Any, after: Any, part: Any) -> Iterator[None]:
    whole, wanted = text_of(text, "sub_atom"), deref(part)
    mark = len(run.trail)
    for start, size in _places(run, whole, wanted, deref(before), deref(length), deref(after)):
        if (
            unify(before, start, run.trail)
            and unify(length, size, run.trail)
            and unify(after, len(whole) - start - size, run.trail)
            and unify(part, whole[start : start + size], run.trail)
        ):
            yield
        undo(run.trail, mark)


def _places(run: Evaluation, whole: str, part: Any, before: Any, length: Any, after: Any) -> Iterator[tuple[int, int]]:
    """Where the parts are, as start and length, that may fit what is known of them."""
    if type(part) is not Ref:
        wanted = text_of(part, "sub_atom")
        at = whole.find(wanted)
        while at >= 0:
            run.count(1)
            yield at, len(wanted)
            at = whole.find(wanted, at + 1)
        return
    end = len(whole)
    if type(after) is int:
        end -= after
        starts = [end - length] if type(length) is int else range(end + 1)
        for tried, start in enumerate(starts):
            if tried % SCAN == 0:
                run.count(1)
            if 0 <= start <= end <= len(whole):
                yield start, end - start
        return
    for start in [before] if type(before) is int else range(end + 1):
        sizes = [length] if type(length) is int else range(end - start + 1)
        for tried, size in enumerate(sizes):
            if tried % SCAN == 0:
                run.count(1)
            if start >= 0 and size >= 0 and start + size <= end:
                yield start, size


def _atompart(run: Evaluation, text: Any, part: Any, start: Any, length: Any) -> Iterator[None]:
    whole, begin = text_of(text, "atompart"), deref(start)
    mark = len(run.trail)
    before = begin - 1 if type(begin) is int else begin
    for at, size in _places(run, whole, deref(part), before, deref(length), None):
        if (
            unify(start, at + 1, run.trail)
            and unify(length, size, run.trail)
            and unify(part, whole[at : at + size], run.trail)
        ):
            yield
        undo(run.trail, mark)


def _case(change: Callable[[str], str], what: str) -> Callable[[Evaluation, Any, Any], bool]:
    return lambda run, text, result: unify(result, limited(change(text_of(text, what))), run.trail)


def _characters(run: Evaluation, text: Any, items: Any) -> bool:
    text = deref(text)
    if type(text) is not Ref:
        return unify(items, list(text_of(text, "atom_chars")), run.trail)
    return unify(text, _joined(items, "", "atom_chars"), run.trail)


def _codes(run: Evaluation, text: Any, items: Any) -> bool:
    text = deref(text)
    if type(text) is not Ref:
        return unify(items, [ord(character) for character in text_of(text, "atom_codes")], run.trail)
    codes = resolve(items)
    return unify(text, "".join([_character(code) for code in _list(codes, "atom_codes")]), run.trail)


def _character(code: Any) -> str:
    if type(code) is not int or not _is_character(code):
        raise RuleError(f"{show(code)} is the code of no character")
    return chr(code)


def _char_code(run: Evaluation, character: Any, code: Any) -> bool:
    known = deref(character)
    if type(known) is str and len(known) == 1:
        return unify(code, ord(known), run.trail)
    return unify(character, _character(deref(code)), run.trail)


def _atom_number(run: Evaluation, text: Any, number: Any) -> bool:
    known = deref(text)
    if type(known) is str:
        found = number_of(known)
        return found is not None and unify(number, found, run.trail)
    return unify(text, text_of(number, "atom_number"), run.trail)


def _list(items: Any, what: str) -> list[Any]:
    items = deref(items)
    if type(items) is not list:
        raise RuleError(f"{what} needs a list, not {show(items)!r}")
    return items


def _joined(items: Any, separator: str, what: str) -> str:
    return joined((text_of(item, what) for item in _list(items, what)), separator)


def _join(what: str, run: Evaluation, items: Any, text: Any) -> bool:
    return unify(text, _joined(items, "", what), run.trail)


def _join_or_split(what: str, run: Evaluation, items: Any, separator: Any, text: Any) -> bool:
    between, found = text_of(separator, what), deref(items)
    if type(found) is list and all(type(deref(item)) is not Ref for item in found):
        return unify(text, _joined(found, between, what), run.trail)
    if not between:
        raise RuleError("a text can be cut only at a separator of one character or more")
    pieces = text_of(text, what).split(between)
    if len(pieces) > LIST_LIMIT:
        raise RuleError(f"a list has at most {LIST_LIMIT} items")
    return unify(items, pieces, run.trail)


def _atom_concat(run: Evaluation, left: Any, right: Any, whole: Any) -> Iterator[None]:
    one, other = deref(left), deref(right)
    if type(one) is not Ref and type(other) is not Ref:
        joined = limited(text_of(one, "atom_concat") + text_of(other, "atom_concat"))
        if unify(whole, joined, run.trail):
            yield
        return
    text = text_of(whole, "atom_concat")
    cuts: Any = range(len(text) + 1)
    if type(one) is not Ref:
        start = text_of(one, "atom_concat")
        cuts = [len(start)] if text.startswith(start) else []
    elif type(other) is not Ref:
        end = text_of(other, "atom_concat")
        cuts = [len(text) - len(end)] if text.endswith(end) else []
    mark = len(run.trail)
    for cut in cuts:
        run.count(1)
        bound = type(one) is not Ref or unify(one, text[:cut], run.trail)
        if bound and (type(other) is not Ref or unify(other, text[cut:], run.trail)):
            yield
        undo(run.trail, mark)


def _split(run: Evaluation, text: Any, separators: Any, around: Any, result: Any) -> bool:
    whole, cuts = text_of(text, "split_string"), text_of(separators, "split_string")
    away = text_of(around, "split_string")
    if max(len(cuts), len(away)) > CHARACTERS:
        raise RuleError(f"split_string takes at most {CHARACTERS} separators, and as many characters around a part")
    pieces = re.split(f"[{re.escape(cuts)}]", whole) if cuts else [whole]
    return unify(result, [piece.strip(away) if away else piece for piece in pieces], run.trail)


PREDICATES: Final[tuple[Predicate, ...]] = (
    define(
        "sprintf(_text, format, [value, ...])",
        "tsv",
        "Fills the values into the format (%s %d %i %u %f %g %e %x %X %c %%).",
        "sprintf(_text, '%s is down for %d s', [_hostname, 60])",
        _sprintf,
    ),
    define(
        "atomconcat(left, right, _text)",
        "vvt",
        "Joins two values as text.",
        "atomconcat(_hostname, ' is down', _text)",
        _atomconcat,
    ),
    define(
        "atomconcat([value, ...], _text)",
        "vt",
        "Joins the values of a list as text.",
        "atomconcat([_hostname, ' is ', _status], _text)",
        _atomconcat_list,
    ),
    define(
        "atom_concat(_left, _right, _text)",
        "ttt",
        "Joins two texts, or gives every way to cut one in two.",
        "atom_concat(web, _rest, web17)",
        _atom_concat,
        "nondet",
    ),
    *[
        predicate
        for name in ("atomic_list_concat", "concat_atom")
        for predicate in (
            define(
                f"{name}(list, _text)", "tt", "Joins the items.", f"{name}([_hostname, 1], _text)", partial(_join, name)
            ),
            define(
                f"{name}(list, separator, _text)",
                "tvt",
                "Joins the items with the separator between them, or cuts the text at every separator.",
                f"{name}(_parts, '.', 'www.example.org')",
                partial(_join_or_split, name),
            ),
        )
    ],
    define(
        "split_string(text, separators, around, _parts)",
        "vvvt",
        "Cuts the text at every one of these characters, and takes those around each part away; "
        "without separators it only does that.",
        "split_string(' a, b ', ',', ' ', _parts)",
        _split,
    ),
    define(
        "inttoatom(number, text)",
        "tt",
        "Turns a whole number into text, or text into a number.",
        "inttoatom(_number, '12')",
        _inttoatom,
    ),
    define(
        "atom_number(text, _number)",
        "tt",
        "The same with reals; fails for a text that is no number.",
        "atom_number('1.5', _number)",
        _atom_number,
    ),
    define("atom_length(text, _length)", "vt", "The number of characters.", "atom_length(_hostname, _n)", _length),
    define("atomlength(text, _length)", "vt", "The same as atom_length.", "atomlength(_hostname, _n)", _length),
    define(
        "substring(text, start, length, _part)",
        "viit",
        "The part of that length from a character on, counted from 1; fails when the text is shorter.",
        "substring('web17', 1, 3, _part)",
        _substring,
    ),
    define(
        "sub_atom(text, _before, _length, _after, _part)",
        "ttttt",
        "Finds parts of the text by what is known: the part itself, its length, the characters before and after it.",
        "sub_atom(web17, 0, _, _, web)",
        _sub_atom,
        "nondet",
    ),
    define(
        "atompart(text, _part, _start, _length)",
        "tttt",
        "The same by start, counted from 1, and length.",
        "atompart(web17, _part, 1, 3)",
        _atompart,
        "nondet",
    ),
    define(
        "upcase_atom(text, _upper)",
        "vt",
        "The text in capitals.",
        "upcase_atom(_hostname, _upper)",
        _case(str.upper, "upcase_atom"),
    ),
    define(
        "downcase_atom(text, _lower)",
        "vt",
        "The text in small letters.",
        "downcase_atom(_hostname, _lower)",
        _case(str.lower, "downcase_atom"),
    ),
    define(
        "atom_chars(_text, _list)",
        "tt",
        "Cuts a text into characters, or joins them.",
        "atom_chars(_hostname, [_first | _])",
        _characters,
    ),
    define("atom_codes(_text, _list)", "tt", "The same with their codes.", "atom_codes(_text, [72, 105])", _codes),
    define("char_code(_character, _code)", "tt", "A character and its code.", "char_code(a, _code)", _char_code),
)
