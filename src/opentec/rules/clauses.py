"""Predicates of one's own: clauses of rule files and what is asserted at run time (tec-2.md 3.4, 3.6).

A call has a frame of its own; where a clause's body ends, what follows the call goes on with the caller's frame, so
every solution is driven. Clauses of all rule sets are one program, in the order of rule_sets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from opentec.events.errors import SourceError
from opentec.rules import ast
from opentec.rules.ast import Atom, Compound, EventArgument, ListTerm, Number, Place, RuleSet, Term, Var
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.facts import Fact, Facts, Key, index_key
from opentec.rules.goals import Choice, Code, Step, link
from opentec.rules.scope import MAYBE, Frame, Reader, Scope, constant, reader, wrong
from opentec.rules.terms import Partial, Ref, RuleError, Struct, Trail, deref, freeze, show, undo, unify, unify_all

if TYPE_CHECKING:
    from opentec.rules.compiler import Compiler

CALL_DEPTH: Final = 2_000  # calls of predicates of one's own within one another
RECURSION: Final = 20_000  # Python calls within one another: ten for each of these
HEADROOM: Final = 6_000  # Python calls that are left for what does not call clauses: it must not end half-way
LOOK: Final = 16  # how often it is looked whether they are left, in calls of predicates within one another
COPIED: Final = 256  # items of a long list among the arguments for one step
GOAL_PARTS: Final = 64  # characters of a goal that is called, or of an asserted clause, for one step
COMPILED_SIZE: Final = 4_000_000  # characters of them
COMPILED_LIMIT: Final = 2_000  # clauses that were asserted, or terms that were called, and are kept compiled
# which arguments are goals: of what calls them, and of the connectives too
GOAL_ARGUMENTS: Final = {
    ("findall", 3): (1,),
    ("forall", 2): (0, 1),
    **{(name, 1): (0,) for name in ("once", "ignore", "call")},
}
CONTROL_GOALS: Final = {
    **GOAL_ARGUMENTS,
    **{(name, 2): (0, 1) for name in (",", ";", "->")},
    **{(name, 1): (0,) for name in ("\\+", "not")},
}
_HARMLESS: Final = ("true", "fail", "false", "!")  # what does nothing to an event, whoever says it
SCAN: Final = 16  # clauses looked at for one step
ASSERTS: Final = ("assert", "asserta", "assertz")
ASSERTED: Final = Place("asserted", 0, 0)  # the place of what has none in a file
_ASSERTED: Final = "asserted:0"


class Clause:
    """One clause, compiled. Place 0 of its frame holds what follows the call, and the caller's frame."""

    __slots__ = ("_binds", "_frame", "_reads", "key", "source", "step")

    def __init__(self, source: ast.Clause, compiler: Compiler) -> None:
        self.source = source
        scope = Scope(cuts=True)
        scope.hidden()
        args = source.head.args if isinstance(source.head, Compound) else ()
        self.key = _static_key(args[0]) if args else None
        binds: list[tuple[int, int]] = []
        reads: list[tuple[int, Reader]] = []
        for number, arg in enumerate(args):
            if isinstance(arg, Var) and not scope.known(arg):
                if arg.name != "_":
                    binds.append((number, scope.define(arg, MAYBE)))
            else:
                reads.append((number, reader(arg, scope)))
        self._binds, self._reads = tuple(binds), tuple(reads)
        body = source.body
        self.step: Step = _leave if body is None else link(compiler.sequence(body, scope), _leave)
        self._frame: Frame = [None] * scope.size

    def enter(self, args: Sequence[Any], trail: Trail) -> Frame | None:
        """A frame in which the head fits the arguments, or None; bindings are on the trail."""
        frame = self._frame.copy()
        for number, place in self._binds:
            frame[place] = args[number]
        for number, read in self._reads:
            if not unify(read(frame), args[number], trail):
                return None
        return frame


def _is_deep() -> bool:
    try:
        sys._getframe(RECURSION - HEADROOM)
    except ValueError:
        return False
    return True


def _leave(frame: Frame, run: Evaluation) -> bool:
    rest, outer = frame[0]
    return rest(outer, run)  # type: ignore[no-any-return]


def _static_key(term: Term) -> Any:
    value = constant(term)
    if isinstance(term, Compound):
        return term.name, len(term.args)
    return value if type(value) in (str, int, float) else None


class Procedure:
    """The clauses of one name and arity in rule files, in order, with an index on the first argument."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.clauses: list[Clause] = []
        self._index: dict[Any, list[Clause]] = {}
        self._loose: list[Clause] = []  # whose first argument is a variable or a list

    def add(self, clause: Clause) -> None:
        self.clauses.append(clause)
        if clause.key is None:
            self._loose.append(clause)
            for found in self._index.values():
                found.append(clause)
        else:
            self._index.setdefault(clause.key, self._loose.copy()).append(clause)

    def matching(self, args: Sequence[Any]) -> Sequence[Clause]:
        """Those that may fit these arguments."""
        if not args or type(deref(args[0])) is Ref:
            return self.clauses
        key = index_key(args[0])
        return self._loose if key is None else self._index.get(key, self._loose)


class Program:
    """All predicates of a rule base's own. `errors` has what is wrong with its clauses, one error each at most."""

    def __init__(self, compiler: Compiler, rule_sets: Iterable[RuleSet]) -> None:
        self._compiler = compiler
        self.procedures: dict[Key, Procedure] = {}
        self.errors: list[SourceError] = []
        self._compiled: dict[bytes, Clause] = {}
        self._size = 0  # of what is kept compiled
        self._sources: list[tuple[Procedure, ast.Clause]] = []
        for rule_set in rule_sets:
            bodies = [action.body for rule in rule_set.rules for action in rule.actions]
            for source in rule_set.clauses:
                self._sources.append((self._procedure(_source_key(source.head)), source))
                if source.body is not None:
                    bodies.append(source.body)
            for key in (key for body in bodies for key in asserted(body)):
                self._procedure(key)
        # also where there are no clauses: what nests too deeply must not depend on what ran in this process before
        sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))

    def compile_clauses(self) -> None:
        """Compile the clauses of the files, once the compiler is ready to."""
        for procedure, source in self._sources:
            try:
                if self._compiler.is_language(procedure.key):
                    wrong(f"{shown(procedure.key)} is a predicate of the language", source.place, "take another name")
                procedure.add(Clause(source, self._compiler))
            except SourceError as error:
                self.errors.append(error)

    def _procedure(self, key: Key) -> Procedure:
        found = self.procedures.get(key)
        if found is None:
            found = self.procedures[key] = Procedure(key)
        return found

    def check_asserted(self, key: Key) -> None:
        """Raises RuleError for a fact of a name that is the language's own."""
        if self._compiler.is_language(key):
            raise RuleError(f"{shown(key)} is a predicate of the language and cannot be asserted; take another name")

    def clauses(self, key: Key, args: tuple[Any, ...]) -> Sequence[Clause]:
        """The clauses of rule files that may fit these arguments."""
        found = self.procedures.get(key)
        return () if found is None else found.matching(args)

    # calls

    def call(self, procedure: Procedure, term: Compound, scope: Scope) -> Code:
        """The code of a goal that calls a predicate of one's own."""
        readers = tuple([reader(arg, scope) for arg in term.args])
        place = f"{term.place.file}:{term.place.line}"

        def make(rest: Step) -> Step:
            def call(frame: Frame, run: Evaluation) -> bool:
                args = tuple([read(frame) for read in readers])
                return self._drive(self._candidates(procedure, args, run), args, rest, frame, run, place)

            return call

        return Choice(make)

    def _candidates(self, procedure: Procedure, args: tuple[Any, ...], run: Evaluation) -> Sequence[Clause | Fact]:
        clauses = procedure.matching(args)
        table = run.store.view(Facts).table(procedure.key)
        if table is None:
            return clauses
        facts = table.matching(args)
        if not clauses:
            return facts
        first = [fact for fact in facts if fact.number < 0]  # by asserta
        return [*first, *clauses, *facts[len(first) :]]

    def _drive(
        self,
        candidates: Sequence[Clause | Fact],
        args: tuple[Any, ...],
        rest: Step,
        frame: Frame,
        run: Evaluation,
        place: str,
    ) -> bool:
        """Every solution of these clauses, in order, and what follows the call for each."""
        run.count(1 + len(candidates) // SCAN)
        for arg in args:
            if type(arg) is list and len(arg) >= COPIED:
                run.count(len(arg) // COPIED)  # most likely it was made for this call, and stays as long as that
        depth = run.depth
        trail = run.trail
        mark = len(trail)
        run.depth = depth + 1
        try:
            if depth >= CALL_DEPTH or (depth % LOOK == LOOK - 1 and _is_deep()):
                raise RuleError(f"predicates of the rule base call one another more than {depth} deep")
            for clause in candidates:
                if type(clause) is Fact:
                    if clause.body is None:
                        if unify_all(clause.fresh()[0], args, trail) and rest(frame, run):
                            return True
                        undo(trail, mark)
                        continue
                    run.count(len(clause.text) // GOAL_PARTS)
                    clause = self._compile_fact(clause)
                new = clause.enter(args, trail)  # type: ignore[union-attr]
                if new is not None:
                    new[0] = rest, frame
                    if clause.step(new, run):  # type: ignore[union-attr]
                        if run.cut is new:
                            run.cut = None
                            undo(trail, mark)
                            return False
                        return True
                undo(trail, mark)
            return False
        except RuleError as error:
            if not error.place or error.place == _ASSERTED:
                error.place = place
            raise
        finally:
            run.depth = depth

    # what is compiled at run time

    def _compile_fact(self, fact: Fact) -> Clause:
        found = self._compiled.get(fact.text)
        if found is None:
            data = fact.data["f"]  # [":-", head, body]
            head, body = _tree(data[1]), _tree(data[2])
            assert isinstance(head, (Atom, Compound))
            source = ast.Clause(head, body, place=ASSERTED)
            found = self._compile(source, fact.text, f"the asserted clause of {shown(fact.key)}")
        return found

    def _compile(self, source: ast.Clause, text: bytes, what: str) -> Clause:
        # no steps are counted: after a restart all is compiled again, and that must make no difference
        try:
            clause = Clause(source, self._compiler)
        except SourceError as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise RuleError(f"{what} cannot run: {error.message}{hint}") from None
        self._size += len(text)
        if len(self._compiled) >= COMPILED_LIMIT or self._size > COMPILED_SIZE:
            self._compiled.clear()
            self._size = len(text)
        self._compiled[text] = clause
        return clause

    def call_term(self, term: Var, scope: Scope) -> Code:
        """The code of a goal that is a variable: it calls the term that the variable has as its value then."""
        read = reader(term, scope)
        place = f"{term.place.file}:{term.place.line}"

        def make(rest: Step) -> Step:
            def call(frame: Frame, run: Evaluation) -> bool:
                leaves: list[Any] = []
                try:
                    data = freeze(self._goal_of(read(frame), leaves, 0), "a goal")
                except RuleError as error:
                    error.place = error.place or place
                    raise
                text = b"call " + msgspec.json.encode(data)
                run.count(len(text) // GOAL_PARTS)
                clause = self._compiled.get(text)
                if clause is None:
                    head = Compound("call", tuple(_tree({"v": n}) for n in range(len(leaves))), place=ASSERTED)
                    source = ast.Clause(head, _tree(data), place=ASSERTED)
                    try:
                        clause = self._compile(source, text, "this goal")
                    except RuleError as error:
                        error.place = place
                        raise
                return self._drive((clause,), tuple(leaves), rest, frame, run, place)

            return call

        return Choice(make)

    def _goal_of(self, term: Any, leaves: list[Any], depth: int, goal: bool = True) -> Any:
        """The term with numbered variables where it has variables, events, or arguments of a plain predicate.

        `goal`: it stands where a goal stands, not an operand.
        """
        term = deref(term)
        if type(term) is Struct:
            if depth > 100:
                raise RuleError("a goal nests too deeply")
            if self._compiler.takes_values((term.name, len(term.args))):
                return Struct(term.name, tuple([_leaf(arg, leaves) for arg in term.args]))
            places = CONTROL_GOALS.get((term.name, len(term.args)), ()) if goal else ()
            args = [self._goal_of(arg, leaves, depth + 1, at in places) for at, arg in enumerate(term.args)]
            return Struct(term.name, tuple(args))
        if goal and type(term) is str and term not in _HARMLESS:
            # it may be a slot's, handed on by a clause: what a sender writes must not say what a rule does
            raise RuleError(f"{term[:80]!r} is a text, and no text is called; write the goal itself")
        if depth == 0 and type(term) is not str:
            what = "a variable without a value" if type(term) is Ref else show(term)
            raise RuleError(f"{what} is not a goal; a goal is a predicate, a test, or several of them with commas")
        if type(term) is list:
            return [self._goal_of(item, leaves, depth + 1) for item in term]
        return _leaf(term, leaves) if type(term) in (Ref, Event, Partial) else term


def _leaf(term: Any, leaves: list[Any]) -> Ref:
    leaves.append(term)
    return Ref()  # frozen, it gets the number of the leaf: both count in the order of the text


def _tree(data: Any) -> Term:
    """The syntax tree of a frozen term; variables are named by their numbers."""
    if type(data) is str:
        return Atom(data, place=ASSERTED)
    if type(data) is int or type(data) is float:
        return Number(data, place=ASSERTED)
    if type(data) is list:
        return ListTerm(tuple([_tree(item) for item in data]), place=ASSERTED)
    if "v" in data:
        return Var(f"_{data['v']}", place=ASSERTED)
    if "l" in data:
        *items, tail = data["l"]
        return ListTerm(tuple([_tree(item) for item in items]), _tree(tail), place=ASSERTED)
    name, *args = data["f"]
    return Compound(name, tuple([_tree(arg) for arg in args]), place=ASSERTED)


def shown(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def term_of(tree: Term, known: dict[str, Ref]) -> Any:
    """The term that a syntax tree stands for, its variables by name in `known`; an event filter is just `event`."""
    if isinstance(tree, Var):
        return Ref() if tree.name == "_" else known.setdefault(tree.name, Ref())
    if isinstance(tree, ListTerm):
        items = [term_of(item, known) for item in tree.items]
        return items if tree.tail is None else deref(Partial(tuple(items), term_of(tree.tail, known)))
    if isinstance(tree, Compound):
        return Struct(tree.name, tuple([term_of(arg, known) for arg in tree.args]))
    return "event" if isinstance(tree, EventArgument) else tree.value


def _source_key(head: Atom | Compound) -> Key:
    return (head.value, 0) if isinstance(head, Atom) else (head.name, len(head.args))


def asserted(term: Term) -> Iterator[Key]:
    """Name and arity of everything that the goals of a body assert, where the text says it."""
    if not isinstance(term, Compound):
        return
    if term.name in ASSERTS and len(term.args) == 1:
        head = term.args[0]
        if isinstance(head, Compound) and head.name == ":-" and len(head.args) == 2:
            yield from asserted(head.args[1])
            head = head.args[0]
        if isinstance(head, (Atom, Compound)):
            yield _source_key(head)
    for arg in term.args:
        yield from asserted(arg)
