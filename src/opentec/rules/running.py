"""Running the rules of a rule base: which concern an event, in which order, how far a commit reaches.

What to run them over, and when, is the engine's to say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from opentec.rules.compiled import ChangeView, CompiledAction, CompiledRule, compile_rules
from opentec.rules.effects import FIRED_LIMIT, Fired, Timer
from opentec.rules.evaluation import COMMIT_RULE, COMMIT_SET, FILTER_FAULTS, Evaluation, Sender
from opentec.rules.event import Event
from opentec.rules.explain import Explainer, Wants
from opentec.rules.predicates.globals import Globals
from opentec.rules.rulebase import RuleBase
from opentec.rules.scope import Frame
from opentec.rules.selector import Selector
from opentec.rules.terms import RuleError, StepLimitError, Trail
from opentec.rules.user_predicates.calling import load_registry
from opentec.rules.watching import Watcher

CHANGE_DEPTH: Final = 8  # change requests within one another
_HALT: Final = COMMIT_SET + 1


class Running:
    """The compiled rules of one rule base. Raises SourceErrors when a rule does not compile.

    `watcher`, where there is one, wraps every rule.
    """

    def __init__(self, rule_base: RuleBase, selector: Selector, watcher: Watcher | None = None) -> None:
        registry = load_registry(rule_base.user_predicates)
        rules = compile_rules(rule_base.rule_sets, rule_base.classes, registry)
        if watcher is not None:
            rules = watcher.watch(rules)
        self._explain = Explainer(rules, self.fire)
        self._explained: Wants | None = None  # which events are; None: no event at all
        self._plain = rules.plain
        every = (*rules.plain.values(), *rules.timer, *rules.change)
        guards = [rule.guard for rule in every]
        guards += [action.guard for rule in every for action in (*rule.actions, *rule.redo_actions)]
        self._guards = [guard for guard in guards if guard is not None]
        self._timer_rules = rules.timer
        self._change_rules = {
            slot: tuple(rule for rule in rules.change if rule.attribute in (slot, None))
            for slot in {rule.attribute for rule in rules.change}
        }
        self._any_change = self._change_rules.get(None, ())
        selector.load([rule.selectable for rule in rules.plain.values()], rule_base.classes.ancestors)
        self._select = selector.select
        self._selecting = frozenset(test.slot for rule in rules.plain.values() for test in rule.filter.tests)
        self._run: Evaluation

    def attach(self, run: Evaluation) -> None:
        """Run from here on in this evaluation, whose change requests pass these change rules."""
        self._run = run
        variables = run.store.view(Globals)
        variables.watchers.clear()
        for guard in self._guards:
            guard.watch(variables)
        run.selecting = self._selecting
        run.ask = self.ask
        self._explain.attach(run)
        self.apply_settings()

    def explain(self, wants: Wants | None) -> None:
        """Note from here on, for the events that `wants` takes, which rules did not fire and why; None: for none."""
        self._explained = wants

    def apply_settings(self) -> None:
        """Take the evaluation's settings, which may have changed."""
        settings = self._run.settings
        self._step_limit = settings.step_limit
        self._drop_ends = settings.drop_ends
        self._rule_ends_set = settings.commit_rule_ends_set

    def plain(self, event: Event, name: str, *, again: bool = False) -> None:
        """Run every plain rule that concerns the event, in the order of the rule base.

        `name` is the event's in what fired, "" for the record's own; `again` runs redo actions in place of
        reception actions (tec.md 3.2).
        """
        if self._explained is not None and self._explained(event):
            self._explain.plain(event, name, again)
            return
        run, rules, select = self._run, self._plain, self._select
        class_name = event.shape.name
        candidates: Sequence[int] | None = select(class_name, event.slots, event.defaults)
        skipped = -1
        while candidates is not None:
            rest, candidates = candidates, None
            for index in rest:
                rule = rules[index]
                if rule.rule_set == skipped:
                    continue
                guard = rule.guard
                if guard is not None and (guard.shut or (guard.undropped and run.dropped is not None)):
                    continue
                try:
                    frame = rule.match(event, run)
                except FILTER_FAULTS as error:
                    run.unmatched(rule, error)
                    continue
                if frame is None:
                    continue
                commit = self.fire(rule, rule.redo_actions if again else rule.actions, frame, name)
                if commit == COMMIT_SET:
                    skipped = rule.rule_set
                elif commit == _HALT:
                    return
                if run.analysed_changed:
                    # later rules see the event as it is now
                    run.analysed_changed = False
                    changed = select(class_name, event.slots, event.defaults)
                    candidates = changed[bisect_right(changed, index) :]
                    break

    def timer(self, event: Event, timer: Timer) -> None:
        """Run the timer rules that concern a timer which has fired, and its event."""
        if self._explained is not None and self._explained(event):
            self._explain.timer(event, timer)
            return
        run, skipped = self._run, -1
        for rule in self._timer_rules:
            if rule.rule_set == skipped or (rule.guard is not None and rule.guard.closed(run)):
                continue
            try:
                frame = rule.match_timer(event, timer, run)
            except FILTER_FAULTS as error:
                run.unmatched(rule, error)
                continue
            if frame is None:
                continue
            commit = self.fire(rule, rule.actions, frame, str(event))
            if commit == COMMIT_SET:
                skipped = rule.rule_set
            elif commit == _HALT:
                break

    def ask(self, event: Event, slot: str, value: Any, sender: Sender) -> CompiledRule | None:
        """Run the change rules over a change that is asked for and not made yet (tec.md 3.2).

        Gives the rule that dropped the request, or None when the change may be made. Raises RuleError when requests
        are nested too deeply. Whatever evaluation asked finds everything as it was, but for effects.
        """
        rules = self._change_rules.get(slot, self._any_change)
        if not rules:
            return None
        run = self._run
        if run.requests == CHANGE_DEPTH:
            raise RuleError(f"change rules ask for changes within one another, more than {CHANGE_DEPTH} deep")
        outer = run.event, run.rule, run.receiving, run.timer, run.counted, run.did, run.refused, run.trail
        control = run.commit, run.succeeded
        run.requests += 1
        run.event, run.receiving, run.timer, run.refused, run.trail = event, False, None, None, Trail(run.count)
        request = ChangeView(event, slot, value, sender)
        try:
            if self._explained is not None and self._explained(event):
                self._explain.change(rules, event, request)
            else:
                self._change(rules, event, request)
            return run.refused
        finally:
            run.requests -= 1
            run.event, run.rule, run.receiving, run.timer, run.counted, run.did, run.refused, run.trail = outer
            run.commit, run.succeeded = control

    def _change(self, rules: Sequence[CompiledRule], event: Event, request: ChangeView) -> None:
        run, skipped = self._run, -1
        for rule in rules:
            if rule.rule_set == skipped or (rule.guard is not None and rule.guard.closed(run)):
                continue
            try:
                frame = rule.match_change(event, request, run)
            except FILTER_FAULTS as error:
                run.unmatched(rule, error)
                continue
            if frame is None:
                continue
            commit = self.fire(rule, rule.actions, frame, str(event))
            if commit == COMMIT_SET:
                skipped = rule.rule_set
            elif commit == _HALT:
                break

    def fire(self, rule: CompiledRule, actions: Sequence[CompiledAction], frame: Frame, name: str) -> int:
        """Run the actions of a rule whose filter matched; tells how far it commits."""
        run = self._run
        run.rule = rule
        did: list[str] = []
        run.did = did
        ran: list[str] = []
        commit = 0
        for _, title, step, guard in actions:
            if guard is not None and guard.closed(run):
                continue
            run.commit = 0
            run.succeeded = False
            run.trail.parts = 0
            before = len(did)
            try:
                step(frame, run)
            except RuleError as error:
                run.complain(rule, error.place, error.message)
            except RecursionError:
                run.complain(rule, "", f"action {title!r} nests too deeply")
            except StepLimitError:
                run.dropped = run.refused = None  # what cannot be judged is kept, and changed as it was asked
                text = f"action {title!r} was stopped after {self._step_limit} steps"
                run.complain(rule, "", f"{text}, the limit of a record (step_limit)")
                run.commit = _HALT
            run.trail.clear()
            if run.succeeded or len(did) > before:
                ran.append(title)
            if self._drop_ends and run.dropped is not None and not run.requests:  # change rules run to their end
                run.commit = _HALT
            if run.commit >= COMMIT_RULE:
                commit = run.commit
                break
        if ran:
            info = run.timer.info if run.timer is not None else None
            fired = run.fired
            if len(fired) < FIRED_LIMIT:
                fired.append(Fired(rule.set_name, rule.name, ran, did, name, info))
                if len(fired) == FIRED_LIMIT:
                    did.append("... and rules behind this one")
        return COMMIT_SET if commit == COMMIT_RULE and self._rule_ends_set else commit
