"""Another rule base for a server that runs: may the log name it, which one does it name, and what is kept of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentec.events.errors import EventError
from opentec.rules.rulebase import RuleBase, load_compiled
from opentec.rules.rulebase_sources import RuleBaseError, read_sources
from opentec.rules.snapshots import (
    CURRENT,
    SEEN,
    WAITING,
    clear_mark,
    note_activated,
    prune,
    read_mark,
    write_mark,
)
from opentec.server.child import Context, Fatal
from opentec.server.errors import Refused
from opentec.server.trial import problem_of

_log = logging.getLogger("reception")
# a server whose classes do not know these cannot start, or cannot take over (server/master.py makes them)
_NEEDED: Final[dict[str, dict[str, Any]]] = {
    "TEC_Start": {"msg": "", "epoch": 1, "node": "", "source": "TEC", "hostname": ""},
    "TEC_Failover": {
        **dict.fromkeys(("msg", "from_node", "to_node", "reason", "rule_base", "source", "hostname"), ""),
        **dict.fromkeys(("epoch", "gap", "skipped_epochs"), 1),
    },
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a start looked at to choose its rule base. It is settled, so no later start looks at it again, only when the
    log has the outcome: a start that dies before, or becomes a standby, has changed nothing.
    """

    content_hash: str  # of the rule base that is to be activated, "" where that was refused
    seen: str  # the configured folder's, as it was
    seen_before: str  # what SEEN held
    waiting: str  # what WAITING held

    @property
    def activates(self) -> bool:
        return bool(self.content_hash)

    def settle(self, rule_bases: Path, active: str) -> None:
        """Note it beside the snapshots of `rule_bases`, where `active` is what the log names. Raises OSError."""
        if self.content_hash and self.content_hash != active:
            return  # another one was loaded since, and its load has noted what it saw
        if self.content_hash and read_mark(rule_bases, SEEN) == self.seen_before != self.seen:
            write_mark(rule_bases, SEEN, self.seen)
        if self.waiting and read_mark(rule_bases, WAITING) == self.waiting:
            clear_mark(rule_bases, WAITING)


def may_activate(rule_bases: Path, content_hash: str) -> RuleBase:
    """The rule base of a snapshot that this node can run; raises Refused.

    What it compiles to, and code of its own, is tried before the log names it: no process could get past the record.
    """
    try:
        base = load_compiled(rule_bases, content_hash)
    except (RuleBaseError, OSError) as error:
        raise Refused(str(error)) from error
    for name, slots in _NEEDED.items():
        try:
            base.classes.check(name, slots)
        except EventError as error:
            raise Refused(
                f"rule base {base.name} does not know {name} as the server posts it: {error}; take tec.baroc from the "
                "shipped rule base"
            ) from error
    problem = problem_of(base, rule_bases)
    if problem:
        raise Refused(f"rule base {base.name} ({content_hash[:12]}) does not run here: {problem}")
    return base


def rule_base_of_log(context: Context, active: str, continued: bool) -> RuleBase:
    """The rule base that rules at the end of the log, where `active` is its last ACTIVATE ("": there is none).

    The log wins, but for a start that chose another one, whose epoch (`continued`) has no record yet. Raises Fatal.
    """
    chosen = context.rule_base
    if not active or active == chosen.content_hash or (context.activates and not continued):
        return chosen  # type: ignore[no-any-return]
    try:
        return load_compiled(context.instance.rule_bases, active)
    except (RuleBaseError, OSError) as error:
        raise Fatal(f"rule base {active[:12]}, the log's last, cannot be loaded: {error}") from error


def remember(context: Context, *, log_time: int | None, loaded: bool) -> None:
    """Keep on disk what the log says already: which rule base is active.

    `log_time` of its ACTIVATE record, None when that is older than this process. `loaded`: by a command and not by a
    start, so the configured folder counts again only when it is edited. What the start of this epoch chose is settled
    too. A disk that refuses is told and not fatal.
    """
    rule_bases, base = context.instance.rule_bases, context.rule_base
    try:
        if read_mark(rule_bases, CURRENT) != base.content_hash:
            write_mark(rule_bases, CURRENT, base.content_hash)
        if log_time is not None:
            note_activated(rule_bases, base.content_hash, log_time)
        if context.chosen is not None and not loaded:
            context.chosen.settle(rule_bases, base.content_hash)
        if loaded:
            write_mark(rule_bases, SEEN, hash_of_folder(context.config.rule_base_path(context.instance)))
            clear_mark(rule_bases, WAITING)
    except OSError as error:
        _log.warning("rule base %s is active, but that cannot be noted in %s: %s", base.name, rule_bases, error)


def hash_of_folder(folder: Path) -> str:
    """The content hash of a rule base's folder as it is, right or wrong; "" when it cannot be read."""
    try:
        return read_sources(folder).content_hash
    except RuleBaseError:
        return ""


def prune_rule_bases(context: Context) -> None:
    """Delete the snapshots that neither the kept log nor a person needs."""
    try:
        oldest = context.log.oldest_rule_base()
        if oldest is None:
            return  # its head is damaged: nobody knows what the log needs
        gone = prune(context.instance.rule_bases, {oldest[0], context.rule_base.content_hash}, oldest[1])
    except OSError as error:
        _log.warning("rule bases that nobody needs cannot be deleted: %s", error)
        return
    if gone:
        _log.info("rule bases deleted that the log does not name any more: %s", ", ".join(one[:12] for one in gone))
