"""The syntax tree of the rule language (.rls). Only data: the parser makes it, the compiler reads it.

Terms are Prolog's: a name that begins with `_` or is a bare `_` is a variable, every other bare word is an atom,
capitalised or not (tec.md 3.4). Places count from 1.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Place(NamedTuple):
    file: str
    line: int
    column: int


class Node(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    place: Place


class Var(Node, frozen=True):
    """A variable; `name` includes the underscore. A bare `_` is anonymous: each one is a variable of its own."""

    name: str


class Atom(Node, frozen=True):
    """A bare word or '...'."""

    value: str
    quoted: bool = False


class Text(Node, frozen=True):
    """Double-quoted text; accepted wherever an atom is (tec-2.md 3.2)."""

    value: str


class Number(Node, frozen=True):
    value: int | float


class ListTerm(Node, frozen=True):
    """`[a, b | tail]`; tail is None for a proper list."""

    items: tuple[Term, ...]
    tail: Term | None = None


class Compound(Node, frozen=True):
    """`name(args)`, and every operator: `,` `;` `->` `\\+` `=` `==` `is` `<` `+` `-` ... in prefix form."""

    name: str
    args: tuple[Term, ...]


class Test(Node, frozen=True):
    """One test of a condition: `equals X`, `outside [..]`, `within [..]`, `greater_than 3` ..."""

    operator: str
    operand: Term


class Condition(Node, frozen=True):
    """`slot: _var test...`; both may be missing, as in `hostname: _h` and `status: outside ['CLOSED']`."""

    slot: str
    variable: Var | None
    tests: tuple[Test, ...] = ()


class EventFilter(Node, frozen=True):
    """`event: _e of_class within ['A','B'] where [ ... ]`.

    `classes` holds the class names; empty when of_class is missing (predicates on duplicates) or its class is
    a variable, which is then `class_variable`.
    """

    variable: Var
    classes: tuple[Atom, ...] = ()
    class_variable: Var | None = None
    conditions: tuple[Condition, ...] = ()


class EventArgument(Node, frozen=True):
    """An event filter as an argument of a predicate: `first_duplicate(_event, event: _dup where [..], ...)`."""

    filter: EventFilter


Term = Var | Atom | Text | Number | ListTerm | Compound | EventArgument


class Action(Node, frozen=True):
    """`reception_action: name: ( body )`; the body is one goal, usually a Compound of `,`."""

    kind: str  # "reception_action" | "action" | "redo_action"
    name: str  # action_1, action_2 ... when the source names none
    body: Term


class Rule(Node, frozen=True):
    """One rule. The parser turns simple rules and correlation rules into plain ones; `source_kind` remembers them."""

    kind: str  # "rule" | "timer_rule" | "change_rule"
    name: str
    event: EventFilter
    description: str = ""
    directives: tuple[Term, ...] = ()
    timer_duration: Condition | None = None  # slot is "timer_duration"
    timer_info: Condition | None = None  # slot is "timer_info"
    sender: Condition | None = None  # of a change rule: who asks for the change; slot is "sender"
    attribute: Atom | Var | None = None  # of a change rule: the slot that is to change; None = any
    set_to: Condition | None = None  # of a change rule: the new value; slot is "set_to"
    actions: tuple[Action, ...] = ()
    source_kind: str = ""  # "simple_rule" | "correlation_rule" when it was written as one


class Clause(Node, frozen=True):
    """A fact `head.` or a user clause `head :- body.` of a rule file."""

    head: Atom | Compound
    body: Term | None = None


class RuleSet(msgspec.Struct, frozen=True):
    """One .rls file."""

    name: str  # file name without .rls
    file: str
    rules: tuple[Rule, ...]
    clauses: tuple[Clause, ...] = ()
