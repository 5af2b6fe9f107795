"""Control constructs, unification and arithmetic tests: what the compiler itself must know.

Variables that are first met inside a negation or findall stay there; those first met inside an alternative are made
before it, so that both branches and what follows agree on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentec.rules.arithmetic import COMPARISONS, expression
from opentec.rules.ast import Compound, Term, Var
from opentec.rules.evaluation import COMMIT_ACTION, COMMIT_RULE, COMMIT_SET, Evaluation
from opentec.rules.goals import Choice, Code, Goal, Step, as_goal, link, stop
from opentec.rules.scope import EVENT, GROUND, MAYBE, Frame, Reader, Scope, is_ground, need, reader, variables, wrong
from opentec.rules.terms import LIST_LIMIT, Budget, Ref, RuleError, copy, identical, undo, unify

if TYPE_CHECKING:
    from opentec.rules.compiler import Compiler

Control = Callable[["Compiler", Compound, Scope], list[Code]]


def placed(goal: Goal, term: Term) -> Goal:
    """The goal, with its place in the errors that it raises."""
    place = f"{term.place.file}:{term.place.line}"

    def with_place(frame: Frame, run: Evaluation) -> bool:
        try:
            return goal(frame, run)
        except RuleError as error:
            error.place = error.place or place
            raise

    return with_place


def _make_variables(term: Term, scope: Scope) -> list[Code]:
    """Give every variable of the term that has none yet a Ref of its own."""
    places = [scope.define(var, MAYBE) for var in variables(term) if not scope.known(var)]
    if not places:
        return []

    def make(frame: Frame, run: Evaluation) -> bool:
        for place in places:
            frame[place] = Ref()
        return True

    return [make]


def _true(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    return []


def _fail(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    return [lambda frame, run: False]


def _or(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    made = _make_variables(term, scope)
    condition, otherwise = term.args
    if isinstance(condition, Compound) and condition.name == "->" and len(condition.args) == 2:
        test = as_goal(compiler.sequence(condition.args[0], scope))
        then = compiler.sequence(condition.args[1], scope)
        other = compiler.sequence(otherwise, scope)

        def make_if(rest: Step) -> Step:
            then_step, other_step = link(then, rest), link(other, rest)

            def if_then_else(frame: Frame, run: Evaluation) -> bool:
                mark = len(run.trail)
                if test(frame, run):
                    return then_step(frame, run)
                undo(run.trail, mark)
                return other_step(frame, run)

            return if_then_else

        return [*made, Choice(make_if)]
    left, right = compiler.sequence(condition, scope), compiler.sequence(otherwise, scope)

    def make_or(rest: Step) -> Step:
        first, second = link(left, rest), link(right, rest)

        def either(frame: Frame, run: Evaluation) -> bool:
            mark = len(run.trail)
            if first(frame, run):
                return True
            undo(run.trail, mark)
            run.count(1)
            return second(frame, run)

        return either

    return [*made, Choice(make_or)]


def _if_then(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    test = as_goal(compiler.sequence(term.args[0], scope))
    return [test, *compiler.sequence(term.args[1], scope)]


def _once(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    return [as_goal(compiler.sequence(term.args[0], scope))]


def _ignore(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    made = _make_variables(term, scope)
    goal = as_goal(compiler.sequence(term.args[0], scope))

    def ignore(frame: Frame, run: Evaluation) -> bool:
        mark = len(run.trail)
        if not goal(frame, run):
            undo(run.trail, mark)
        return True

    return [*made, ignore]


def _not(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    return [_negation(as_goal(compiler.sequence(term.args[0], scope.branch())))]


def _negation(goal: Goal) -> Goal:
    def cannot(frame: Frame, run: Evaluation) -> bool:
        mark = len(run.trail)
        failed = not goal(frame, run)
        undo(run.trail, mark)
        return failed

    return cannot


def _forall(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    inner = scope.branch()
    condition = compiler.sequence(term.args[0], inner)
    action = _negation(as_goal(compiler.sequence(term.args[1], inner)))
    return [_negation(as_goal([*condition, action]))]


def _findall(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    inner = scope.branch()
    codes = compiler.sequence(term.args[1], inner)
    template = reader(term.args[0], inner)
    place = scope.hidden()
    result = reader(term.args[2], scope)

    def collect(frame: Frame, run: Evaluation) -> bool:
        solutions = frame[place]
        if len(solutions) >= LIST_LIMIT:
            raise RuleError(f"findall collects at most {LIST_LIMIT} solutions")
        budget = Budget()
        solutions.append(copy(template(frame), budget))
        run.count(budget.steps)
        return False

    search = link(codes, collect)

    def findall(frame: Frame, run: Evaluation) -> bool:
        mark = len(run.trail)
        outer, frame[place] = frame[place], []
        search(frame, run)
        run.cut = None  # a cut in the goal ends the search, and no more
        undo(run.trail, mark)
        solutions, frame[place] = frame[place], outer
        return unify(result(frame), solutions, run.trail)

    return [placed(findall, term)]


_ACTION: Final = object()  # no user clause ends this


def _cut(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    if not scope.cuts:
        wrong("! stands only in the clauses of a predicate of one's own", term.place, "commit_action ends an action")

    def make(rest: Step) -> Step:
        def cut(frame: Frame, run: Evaluation) -> bool:
            return rest(frame, run) or stop(run, frame)

        return cut

    return [Choice(make)]


def _call(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    cuts, scope.cuts = scope.cuts, False  # what is called would end with it, and not the clause
    codes = compiler.sequence(term.args[0], scope)
    scope.cuts = cuts
    return codes


def _commit(level: int) -> Control:
    def control(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
        def make(rest: Step) -> Step:
            def commit(frame: Frame, run: Evaluation) -> bool:
                # a cut for what precedes it; what follows in the body still runs (tec-2.md 3.5)
                run.commit = max(run.commit, level)
                return rest(frame, run) or stop(run, _ACTION)

            return commit

        return [Choice(make)]

    return control


def _unify(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    left, right = term.args
    if isinstance(right, Var) and not scope.known(right):
        left, right = right, left
    if isinstance(left, Var) and not scope.known(left) and is_ground(right, scope):
        state = EVENT if isinstance(right, Var) and scope.known(right) == EVENT else GROUND
        return [_store(reader(right, scope), scope.define(left, state))]
    one, two = reader(left, scope), reader(right, scope)
    return [lambda frame, run: unify(one(frame), two(frame), run.trail)]


def _store(read: Reader, place: int) -> Goal:
    def store(frame: Frame, run: Evaluation) -> bool:
        frame[place] = read(frame)
        return True

    return store


def _differs(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    inner = scope.branch()
    one, two = reader(term.args[0], inner), reader(term.args[1], inner)
    return [_negation(lambda frame, run: unify(one(frame), two(frame), run.trail))]


def _same(expected: bool) -> Control:
    def control(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
        one, two = reader(term.args[0], scope), reader(term.args[1], scope)
        return [lambda frame, run: identical(one(frame), two(frame), run.trail) is expected]

    return control


def _compare(compare: Callable[[Any, Any], bool]) -> Control:
    def control(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
        one, two = expression(term.args[0], scope), expression(term.args[1], scope)
        return [placed(lambda frame, run: compare(one(frame), two(frame)), term)]

    return control


def _is(compiler: Compiler, term: Compound, scope: Scope) -> list[Code]:
    result, computed = term.args
    need(computed, scope)
    value = expression(computed, scope)
    if isinstance(result, Var) and not scope.known(result):
        return [placed(_store(value, scope.define(result, GROUND)), term)]
    read = reader(result, scope)
    return [placed(lambda frame, run: unify(read(frame), value(frame), run.trail), term)]


CONTROL: Final[Mapping[tuple[str, int], Control]] = {
    ("true", 0): _true,
    ("fail", 0): _fail,
    ("false", 0): _fail,
    (";", 2): _or,
    ("->", 2): _if_then,
    ("\\+", 1): _not,
    ("not", 1): _not,
    ("once", 1): _once,
    ("call", 1): _call,
    ("!", 0): _cut,
    ("ignore", 1): _ignore,
    ("forall", 2): _forall,
    ("findall", 3): _findall,
    ("commit_action", 0): _commit(COMMIT_ACTION),
    ("commit_rule", 0): _commit(COMMIT_RULE),
    ("commit_set", 0): _commit(COMMIT_SET),
    ("=", 2): _unify,
    ("\\=", 2): _differs,
    ("==", 2): _same(True),
    ("\\==", 2): _same(False),
    ("is", 2): _is,
    **{(name, 2): _compare(compare) for name, compare in COMPARISONS.items()},
}
