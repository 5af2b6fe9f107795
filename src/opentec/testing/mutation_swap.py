"""Another rule in the place of a compiled one, in engines that are at work already: most mutants need no new engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from opentec.events.errors import SourceError
from opentec.rules.ast import Rule
from opentec.rules.compiled import CompiledAction, CompiledRule, CompiledRules
from opentec.rules.compiler import Compiler


class Swap:
    """A watcher that remembers the rules of its engines, and changes one of them until it is put back.

    Only actions may be changed, behind the goals that guards look at: the filter of a rule is in the engine's selector,
    and the globals that guards ask for are watched.
    """

    def __init__(self) -> None:
        self._known: dict[Any, list[tuple[ref[CompiledRule], Compiler]]] = {}  # by identity of the source
        self._changed: tuple[Rule, Rule | None] | None = None
        self._undo: list[Callable[[], None]] = []

    def watch(self, rules: CompiledRules) -> CompiledRules:
        """The same rules; an engine that is made while one is changed gets the changed one."""
        for rule in (*rules.plain.values(), *rules.timer, *rules.change):
            known = self._known.setdefault(id(rule.source), [])
            known[:] = [pair for pair in known if pair[0]() is not None]
            known.append((ref(rule), rules.compiler))
            if self._changed is not None and self._changed[0] is rule.source:
                self._put(rule, self._changed[1], rules.compiler)
        return rules

    def put(self, original: Rule, changed: Rule | None) -> None:
        """Put a rule in the place of this one (the object that the rule base holds), or none at all.

        Raises SourceError where it does not compile; nothing is changed then.
        """
        self._changed = original, changed
        try:
            for known, compiler in self._known.get(id(original), ()):
                rule = known()
                if rule is not None:
                    self._put(rule, changed, compiler)
        except SourceError:
            self.restore()
            raise

    def restore(self) -> None:
        """Every rule is as it was."""
        self._changed = None
        for undo in self._undo:
            undo()
        self._undo.clear()

    def _put(self, rule: CompiledRule, changed: Rule | None, compiler: Compiler) -> None:
        before = dict(vars(rule))
        if changed is None:
            vars(rule)["match"] = _never
        else:
            other = CompiledRule(changed, rule.index, rule.rule_set, rule.set_name, compiler)
            guards = {action.name: action.guard for action in (*rule.actions, *rule.redo_actions)}

            def guarded(action: CompiledAction) -> CompiledAction:
                return action._replace(guard=guards[action.name])

            other.guard = rule.guard
            other.actions = tuple(map(guarded, other.actions))
            other.redo_actions = tuple(map(guarded, other.redo_actions))
            vars(rule).update(vars(other))
            rule.source = before["source"]

        def undo() -> None:
            vars(rule).clear()
            vars(rule).update(before)

        self._undo.append(undo)


def _never(*args: object) -> None:
    """The filter of a rule that is not there."""
