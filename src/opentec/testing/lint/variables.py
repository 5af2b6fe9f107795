"""L102: variables that stand only once, which is mostly a slip of the pen.

An event variable is part of the syntax of a filter, so it may stand alone; so may the variable of `sender`. A name
that begins with two underscores says that it is not used on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from opentec.events.names import nearest
from opentec.rules.ast import Compound, EventArgument, Place, Rule, Term, Var
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Model, all_terms, conditions_of, filter_terms

_Seen = tuple[str, Place]


def check_variables(model: Model) -> Iterator[Diagnostic]:
    """The variables of each rule and clause that stand once."""
    for _, rule in model.rules:
        if rule.source_kind != "correlation_rule":  # its variables are made, not written
            yield from _rule(rule)
    for site in model.sites:
        if site.clause is not None:
            head = site.clause.head
            terms = [*(head.args if isinstance(head, Compound) else ())]
            terms += [] if site.clause.body is None else [site.clause.body]
            yield from _once(_seen(terms), _events(terms))


def _rule(rule: Rule) -> Iterator[Diagnostic]:
    shared = list(_seen(filter_terms(rule.event)))
    for condition in conditions_of(rule):
        terms: list[Term] = [test.operand for test in condition.tests]
        if condition.variable is not None and condition.slot != "sender":
            terms.append(condition.variable)
        shared += _seen(terms)
    if isinstance(rule.attribute, Var):
        shared += _seen([rule.attribute])
    names = {name for name, _ in shared}
    bodies = [(list(_seen([action.body])), _events([action.body])) for action in rule.actions]
    inside = [seen for body, _ in bodies for seen in body if seen[0] in names]
    events = {
        rule.event.variable.name,
        *(rule.sender.variable.name for _ in "s" if rule.sender and rule.sender.variable),
    }
    # what the filter binds holds in all actions
    yield from _once([*shared, *inside], events.union(*[own for _, own in bodies]))
    for body, own in bodies:
        yield from _once([seen for seen in body if seen[0] not in names], events | own, names)


def _seen(terms: Iterable[Term]) -> Iterator[_Seen]:
    return ((term.name, term.place) for term in all_terms(terms) if isinstance(term, Var))


def _events(terms: Iterable[Term]) -> set[str]:
    return {term.filter.variable.name for term in all_terms(terms) if isinstance(term, EventArgument)}


def _once(seen: Iterable[_Seen], events: set[str], others: Iterable[str] = ()) -> Iterator[Diagnostic]:
    seen = list(seen)
    counts = Counter(name for name, _ in seen)
    for name, place in seen:
        if counts[name] == 1 and name not in events and name != "_" and not name.startswith("__"):
            near = nearest(name, [*(other for other in counts if other != name), *events, *others])
            hint = f"did you mean {near}? else write _" if near else f"write _, or _{name} where the name says more"
            yield found("L102", place, f"variable {name} stands only here", hint)
