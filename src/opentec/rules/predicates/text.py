"""Lists and texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import LIST_LIMIT, TEXT_LIMIT, Partial, Ref, RuleError, deref, resolve, show, undo, unify

_DIRECTIVE: Final = re.compile(r"%(?P<flags>[-+ 0#]{0,4}\d{0,3}(?:\.\d{1,3})?)(?:l{0,2}|h)(?P<kind>[%sdiufgexXc])")
_NUMERIC: Final = {"d": int, "i": int, "u": int, "x": int, "X": int, "c": int, "f": float, "g": float, "e": float}


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
        out: list[str] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                out.append(piece)
            elif piece[1] == "%":
                out.append("%")
            else:
                out.append(self._one(*piece, next_argument()))
        return limited("".join(out))

    def _one(self, flags: str, kind: str, argument: Any) -> str:
        if kind == "s":
            return str(f"%{flags}s" % show(argument))
        wanted = _NUMERIC[kind]
        try:
            return str(f"%{flags}{'d' if kind in 'iu' else kind}" % wanted(resolve(argument)))
        except (TypeError, ValueError, OverflowError):
            raise RuleError(f"%{kind} needs a number, not {show(argument)!r}") from None


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


def _sprintf(run: Evaluation, result: Any, text: str, values: Any) -> bool:
    return unify(result, Format(text).fill(arguments_of(values)), run.trail)


def _atomconcat(run: Evaluation, left: Any, right: Any, result: Any) -> bool:
    return unify(result, limited(show(left) + show(right)), run.trail)


def _atomconcat_list(run: Evaluation, values: Any, result: Any) -> bool:
    if type(values) is not list:
        raise RuleError(f"atomconcat takes a list, not {show(values)!r}")
    return unify(result, limited("".join(map(show, values))), run.trail)


def _inttoatom(run: Evaluation, number: Any, text: Any) -> bool:
    number, text = deref(number), deref(text)
    if type(number) is int:
        return unify(text, str(number), run.trail)
    if type(text) is str and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return unify(number, int(text), run.trail)
    return False


def _member(run: Evaluation, item: Any, items: Any) -> Iterator[None]:
    items = deref(items)
    if type(items) is not list:
        raise RuleError(f"member needs a list, not {show(items)!r}")
    mark = len(run.trail)
    for candidate in items:
        if unify(item, candidate, run.trail):
            yield
        undo(run.trail, mark)


def _length(run: Evaluation, items: Any, length: Any) -> bool:
    items, length = deref(items), deref(length)
    if type(items) is list:
        return unify(length, len(items), run.trail)
    if type(length) is int and 0 <= length <= LIST_LIMIT and type(items) in (Ref, Partial):
        return unify(items, [Ref() for _ in range(length)], run.trail)
    raise RuleError("length needs a list")


def _append(run: Evaluation, left: Any, right: Any, whole: Any) -> Iterator[None]:
    left, right, whole = deref(left), deref(right), deref(whole)
    mark = len(run.trail)
    if type(left) is list:
        if type(right) is list and len(left) + len(right) > LIST_LIMIT:
            raise RuleError(f"a list has at most {LIST_LIMIT} items")
        joined = left + right if type(right) is list else Partial(tuple(left), right) if left else right
        if unify(whole, joined, run.trail):
            yield
        undo(run.trail, mark)
        return
    if type(whole) is not list:
        raise RuleError("append needs a list in its first or its last argument")
    for cut in range(len(whole) + 1):
        if unify(left, whole[:cut], run.trail) and unify(right, whole[cut:], run.trail):
            yield
        undo(run.trail, mark)


def _memberchk(run: Evaluation, item: Any, items: Any) -> bool:
    return next((True for _ in _member(run, item, items)), False)


def _is_bound(run: Evaluation, term: Any) -> bool:
    return type(deref(term)) is not Ref


PREDICATES: Final = (
    Predicate(
        name="sprintf",
        modes="tsv",
        signature="sprintf(_text, format, [value, ...])",
        effect="Fills the values into the format (%s %d %i %u %f %g %e %x %X %c %%).",
        determinism="semidet",
        example="sprintf(_msg, '%s is down for %d s', [_hostname, 60])",
        function=_sprintf,
    ),
    Predicate(
        name="atomconcat",
        modes="vvt",
        signature="atomconcat(left, right, _text)",
        effect="Joins two values as text.",
        determinism="semidet",
        example="atomconcat(_hostname, ' is down', _msg)",
        function=_atomconcat,
    ),
    Predicate(
        name="atomconcat",
        modes="vt",
        signature="atomconcat([value, ...], _text)",
        effect="Joins the values of a list as text.",
        determinism="semidet",
        example="atomconcat([_hostname, ' is ', _state], _msg)",
        function=_atomconcat_list,
    ),
    Predicate(
        name="inttoatom",
        modes="tt",
        signature="inttoatom(number, text)",
        effect="Turns a whole number into text, or text into a number.",
        determinism="semidet",
        example="inttoatom(_count, _text)",
        function=_inttoatom,
    ),
    Predicate(
        name="member",
        modes="tt",
        signature="member(_item, [item, ...])",
        effect="Unifies with every item in turn.",
        determinism="nondet",
        example="member(_severity, ['CRITICAL', 'FATAL'])",
        function=_member,
        many=True,
    ),
    Predicate(
        name="memberchk",
        modes="tt",
        signature="memberchk(item, [item, ...])",
        effect="Unifies with the first item that fits.",
        determinism="semidet",
        example="memberchk(_hostname, ['web1', 'web2'])",
        function=_memberchk,
    ),
    Predicate(
        name="length",
        modes="tt",
        signature="length([item, ...], _length)",
        effect="Gives the number of items of a list.",
        determinism="semidet",
        example="length(_hosts, _n)",
        function=_length,
    ),
    Predicate(
        name="append",
        modes="ttt",
        signature="append(left, right, whole)",
        effect="Joins two lists, or gives every way to cut one in two.",
        determinism="nondet",
        example="append(['a'], _rest, _whole)",
        function=_append,
        many=True,
    ),
    Predicate(
        name="nonvar",
        modes="t",
        signature="nonvar(term)",
        effect="Succeeds when the term is not an unbound variable.",
        determinism="semidet",
        example="nonvar(_x)",
        function=_is_bound,
    ),
    Predicate(
        name="var",
        modes="t",
        signature="var(term)",
        effect="Succeeds when the term is an unbound variable.",
        determinism="semidet",
        example="var(_x)",
        function=lambda run, term: not _is_bound(run, term),
    ),
)
