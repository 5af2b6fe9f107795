"""What a replay counts while it goes on: by record, by rule, by what would have left the server."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from opentec.events.records import Disposition, Kind, Record
from opentec.log.codec import DAMAGED
from opentec.rules.batching import outbox_kind
from opentec.rules.effects import Effects, Explained
from opentec.rules.rulebase import RuleBase

DISTINCT: Final = 1000  # texts that are counted one by one; the rest is counted together
OTHERS: Final = "(others)"
NOTICES: Final = "TEC_Notice"
_KINDS: Final = {int(kind): kind.name for kind in Kind} | {DAMAGED: "DAMAGED"}


class RuleCount(msgspec.Struct):
    """One rule: how often it fired, and each of its actions with it."""

    fired: int = 0
    actions: Counter[str] = msgspec.field(default_factory=Counter)


class Tally(msgspec.Struct):
    """What a replay came to. Everything here is a function of the log and the rule base."""

    name: str = ""  # of the rule base; of several, the last
    rule_bases: list[str] = []  # content hashes, in the order in which they were active
    known: set[str] = set()  # every rule of theirs, as SET/RULE
    first: int = 0  # position of the first record, and that behind the last
    after: int = 0
    started: int = 0  # log time of the first record, microseconds, and of the last
    ended: int = 0
    activations: list[int] = []  # positions at which the log activates a rule base
    records: Counter[str] = msgspec.field(default_factory=Counter)  # by kind
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)  # by disposition
    reasons: Counter[str] = msgspec.field(default_factory=Counter)  # of what was not stored
    rules: dict[str, RuleCount] = {}  # by SET/RULE
    derived: Counter[str] = msgspec.field(
        default_factory=Counter
    )  # events that rules and the engine made and that were stored, by class
    notices: Counter[str] = msgspec.field(default_factory=Counter)  # those of class TEC_Notice and below, as CLASS: MSG
    outbox: Counter[str] = msgspec.field(
        default_factory=Counter
    )  # what would have gone out, as `program NAME`, `task NAME`, `forward NAME`

    @property
    def total(self) -> int:
        """Records of the log."""
        return sum(self.records.values())

    def active(self, rule_base: RuleBase) -> None:
        self.name = rule_base.name
        self.rule_bases.append(rule_base.content_hash)
        self.known.update(f"{rule_set.name}/{rule.name}" for rule_set in rule_base.rule_sets for rule in rule_set.rules)

    def saw(self, record: Record) -> None:
        """Count a record of the log."""
        if not self.started:
            self.first, self.started = record.position, record.time
        self.after = record.after
        self.ended = record.time or self.ended
        if record.kind == Kind.ACTIVATE:
            self.activations.append(record.position)
        self.records[_KINDS.get(record.kind, str(record.kind))] += 1

    def did(self, effects: Effects) -> None:
        """Count what a record did."""
        outcome = effects.outcome
        own = None
        if outcome is not None:
            own = outcome.event
            self.outcomes[Disposition(outcome.disposition).name] += 1
            if outcome.reason is not None and outcome.disposition in _NOT_STORED:
                _count(self.reasons, outcome.reason)
        for fired in effects.fired:
            if type(fired) is Explained and not fired.actions:
                continue  # a rule that says why it did not fire
            count = self.rules.setdefault(f"{fired.rule_set}/{fired.rule}", RuleCount())
            count.fired += 1
            count.actions.update(fired.actions)
        for event in effects.inserted:
            if event is own:
                continue
            self.derived[event.class_name] += 1
            if NOTICES in event.cls.ancestors:
                _count(self.notices, f"{event.class_name}: {event.get('msg')}")
        for program in effects.programs:
            kind, _, name = outbox_kind(program).partition(":")
            _count(self.outbox, f"{kind} {name or next(iter(program.argv), '')}")


_NOT_STORED: Final = (Disposition.REJECTED, Disposition.FAILED, Disposition.REFUSED)


def _count(counter: Counter[str], text: str) -> None:
    counter[text if text in counter or len(counter) < DISTINCT else OTHERS] += 1
