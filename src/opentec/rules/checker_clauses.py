"""Checks of clauses of one's own, and what names the clauses and facts of a rule base define."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from opentec.rules.ast import Atom, Clause, Compound, ListTerm, Number, RuleSet, Term, Text, Var
from opentec.rules.checker_goals import GoalChecker
from opentec.rules.checker_report import asserted_clause, conjuncts, variables

_ENDS_SEARCH = ("!", "commit_action", "commit_rule", "commit_set")


def defined(rule_sets: Iterable[RuleSet]) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """Names and arities that the clauses of these rule sets define, and those that some rule or clause asserts."""
    own: dict[str, set[int]] = {}
    asserted: dict[str, set[int]] = {}
    for rule_set in rule_sets:
        bodies = [action.body for rule in rule_set.rules for action in rule.actions]
        for clause in rule_set.clauses:
            _add(clause.head, own)
            if clause.body is not None:
                bodies.append(clause.body)
        for body in bodies:
            for term in _terms(body):
                if found := asserted_clause(term):
                    _add(found[0], asserted)
    return own, asserted


def _add(head: Atom | Compound, names: dict[str, set[int]]) -> None:
    name, arity = _key(head)
    names.setdefault(name, set()).add(arity)


def _key(head: Term) -> tuple[str, int]:
    if isinstance(head, Atom):
        return head.value, 0
    return (head.name, len(head.args)) if isinstance(head, Compound) else ("", -1)


def _terms(body: Term) -> Iterator[Compound]:
    """Every compound term of a body, in any depth."""
    waiting = [body]
    while waiting:
        term = waiting.pop()
        if isinstance(term, Compound):
            yield term
            waiting += term.args


def check_clause(clauses: Sequence[Clause], position: int, goals: GoalChecker) -> None:
    """Report what is certainly wrong with the clause at this position among those of its file."""
    clause = clauses[position]
    goals.head(clause.head)
    if clause.body is None:
        return
    goals.goal(clause.body, {var.name for var in variables(clause.head)})
    first = next(conjuncts(clause.body))
    name, arity = _key(clause.head)
    if _key(first) == (name, arity) and _takes(clause.head, first):
        before = [c.body for c in clauses[:position] if _key(c.head) == (name, arity) and c.body is not None]
        # an earlier clause may end the search before this one is tried again
        if not any(_key(term) in {(word, 0) for word in _ENDS_SEARCH} for body in before for term in conjuncts(body)):
            goals.report.add(
                first.place,
                f"{name}/{arity} calls itself as its first goal, so it never ends",
                "put a goal that can fail before it",
            )


def _takes(head: Term, goal: Term) -> bool:
    """Whether the head unifies with whatever the goal is when it is called: its arguments are as general or more."""
    values: dict[str, Term] = {}
    pairs = [(head, goal)]
    while pairs:
        general, special = pairs.pop()
        if _empty(general) and _empty(special):
            continue
        if isinstance(general, Var):
            known = values.setdefault(general.name, special) if general.name != "_" else special
            if not _same(known, special):
                return False
        elif isinstance(general, Compound):
            if not isinstance(special, Compound) or _key(general) != _key(special):
                return False
            pairs += zip(general.args, special.args, strict=True)
        elif isinstance(general, ListTerm):
            if not isinstance(special, ListTerm) or not 0 < len(general.items) <= len(special.items):
                return False
            rest = ListTerm(special.items[len(general.items) :], special.tail, place=special.place)
            ends = rest.tail if rest.tail is not None and not rest.items else rest
            pairs += zip(general.items, special.items, strict=False)
            pairs.append((general.tail or ListTerm((), place=general.place), ends))
        elif not _same(general, special):
            return False
    return True


def _empty(term: Term) -> bool:
    return isinstance(term, ListTerm) and not term.items and term.tail is None


def _same(one: Term, other: Term) -> bool:
    """Whether two terms are the same apart from their places."""
    if isinstance(one, Var) and isinstance(other, Var):
        return one.name == other.name and one.name != "_"
    if isinstance(one, (Atom, Text)) and isinstance(other, (Atom, Text)):
        return one.value == other.value
    if isinstance(one, Number) and isinstance(other, Number):
        return one.value == other.value
    if isinstance(one, Compound) and isinstance(other, Compound):
        return _key(one) == _key(other) and all(map(_same, one.args, other.args))
    if isinstance(one, ListTerm) and isinstance(other, ListTerm) and len(one.items) == len(other.items):
        tails = one.tail is other.tail if one.tail is None or other.tail is None else _same(one.tail, other.tail)
        return tails and all(map(_same, one.items, other.items))
    return False
