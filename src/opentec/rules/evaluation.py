"""What a rule can do: the engine's state, the record that is processed, and every effect on events.

Predicates get an `Evaluation` as their first argument. It has no clock, disk or socket: `now` is log time.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from opentec.events.errors import EventRejected
from opentec.rules.cache import EventCache
from opentec.rules.effects import Fired, Program, Timer
from opentec.rules.event import CLOSED, FIXED_SLOTS, Event, Shape, Shapes
from opentec.rules.rulebase_sources import Settings
from opentec.rules.store import Store
from opentec.rules.terms import RuleError, StepLimitError, Struct, Trail, freeze_measured, show
from opentec.rules.timers import TimerTable

if TYPE_CHECKING:
    from opentec.events.classes import EventClass
    from opentec.rules.compiled import CompiledRule

Sender = Struct | str
# runs the change rules over (event, slot, value, sender); gives the rule that dropped the request, or None
Ask = Callable[["Event", str, Any, Sender], "CompiledRule | None"]

MICROSECONDS: Final = 1_000_000
DERIVED_LIMIT: Final = 1000  # events that one record, or timer, may generate or have analysed again
PROGRAM_LIMIT: Final = 1000  # programs that one record, or timer, may start
NOTICE_SECONDS: Final = 60  # of log time between two TEC_Error notices about the same rule
TIMER_LIMIT: Final = 250_000  # timers that may be pending
SLOT_ITEMS: Final = 10_000  # items that a rule may put into a LIST_OF slot
SLOT_SIZE: Final = 1_000_000  # characters of them
OUTPUT_LIMIT: Final = 20_000_000  # characters that one record, or timer, may put into slots, programs and the store
SHORT: Final = 256  # characters of a slot's value that do not count towards it
FROZEN_A_STEP: Final = 64  # parts and characters that are put into the store for one step
DID_LIMIT: Final = 100  # sentences kept for one rule that fired
LONGEST_TIMER: Final = 10 * 366 * 86_400  # seconds
COMMIT_ACTION: Final = 1
COMMIT_RULE: Final = 2
COMMIT_SET: Final = 3
CLOSED_EVENT: Final = "closed_event"  # the sender of a change that an event asks for by arriving CLOSED
FILTER_FAULTS: Final = (RuleError, StepLimitError, RecursionError)  # what the filter of a rule may raise
_COMPLAINT: Final = "notice"  # section of the store: when a rule was last complained of


def size_of(value: Any) -> int:
    """Characters of a slot's value, about."""
    if type(value) is str:
        return len(value)
    return sum([size_of(item) for item in value]) if type(value) is list else 8


class Derived:
    """An event that waits to be processed after the one that caused it."""

    __slots__ = ("ident", "shape", "slots")

    def __init__(self, shape: Shape, slots: dict[str, Any], ident: str) -> None:
        self.shape = shape
        self.slots = slots
        self.ident = ident


class Redo:
    """A stored event that waits to be analysed again."""

    __slots__ = ("event", "ident")

    def __init__(self, event: Event, ident: str) -> None:
        self.event = event
        self.ident = ident


def operator(name: str) -> Struct:
    """The sender of a change that a person asks for."""
    return Struct("operator", (name,))


def _nobody(event: Event, slot: str, value: Any, sender: Sender) -> None:
    return None


def digest(*parts: object) -> str:
    """A stable identity of 32 hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Evaluation:
    """One record while rules look at it. The engine owns the only instance and resets it per record."""

    __slots__ = (
        "analysed",
        "analysed_changed",
        "ask",
        "cache",
        "cause",
        "changed",
        "commit",
        "counted",
        "cut",
        "depth",
        "derived",
        "derived_count",
        "did",
        "dropped",
        "event",
        "fired",
        "next_timer",
        "now",
        "output",
        "parent",
        "position",
        "program_count",
        "programs",
        "receiving",
        "refused",
        "requests",
        "rule",
        "selecting",
        "settings",
        "shapes",
        "steps",
        "store",
        "succeeded",
        "timer",
        "timers",
        "timers_cancelled",
        "timers_set",
        "trail",
    )

    def __init__(self, shapes: Shapes, cache: EventCache, timers: TimerTable, store: Store) -> None:
        self.shapes = shapes
        self.cache = cache
        self.timers = timers
        self.store = store
        self.settings = Settings()  # of the rule base at work
        self.ask: Ask = _nobody
        self.next_timer = 1
        self.selecting: frozenset[str] = frozenset()  # slots that the selection of rules depends on
        self.trail = Trail(self.count)
        self.cut: object = None  # what a cut or commit on its way back is for (goals.py)
        self.depth = 0  # calls of user clauses that are under way
        self.reset(0)

    def reset(self, position: int) -> None:
        """Begin a record."""
        self.position = position
        self.derived: list[Derived | Redo] = []
        self.fired: list[Fired] = []
        self.changed: dict[int, Event] = {}
        self.timers_set: dict[int, Timer] = {}
        self.timers_cancelled: list[int] = []
        self.programs: list[Program] = []
        self.timer: Timer | None = None
        self.requests = 0  # change requests that are under evaluation, one within the other
        self.refused: CompiledRule | None = None
        self.event: Event = None  # type: ignore[assignment]  # set by analyse() before any rule runs
        self.analysed: Event = None  # type: ignore[assignment]
        self.rule: CompiledRule = None  # type: ignore[assignment]
        self.refill()

    def refill(self) -> None:
        """Give what is to come, a record or a timer, its full share of events and programs."""
        self.derived_count = 0
        self.program_count = 0
        self.output = 0

    def begin(self, now: int, parent: str) -> None:
        """Begin something at `now`, microseconds of log time. What it derives has its identity from `parent`."""
        self.now = now
        self.parent = parent
        self.cause = 0

    def analyse(self, event: Event, now: int, parent: str, *, receiving: bool, timer: Timer | None = None) -> None:
        """Begin the evaluation of one event at `now`, microseconds of log time.

        `parent` is unique for this evaluation: identities of derived events hang on it.
        """
        self.now = now
        self.parent = parent
        self.cause = 0
        self.event = event
        self.analysed = event  # stays, while change rules look at another one
        self.receiving = receiving
        self.timer = timer
        self.dropped: CompiledRule | None = None
        self.refused = None
        self.counted: Event | None = None
        self.analysed_changed = False
        self.did: list[str] = []
        self.commit = 0
        self.succeeded = False

    @property
    def seconds(self) -> int:
        return self.now // MICROSECONDS

    def note(self, sentence: str) -> None:
        """Remember what the rule did, for `tec why`."""
        did = self.did
        if len(did) < DID_LIMIT:
            did.append(sentence)
        elif len(did) == DID_LIMIT:
            did.append("... and more")

    def count(self, steps: int) -> None:
        """Spend steps; raises StepLimitError when the record has none left."""
        self.steps: int = self.steps - steps
        if self.steps < 0:
            raise StepLimitError

    def put_out(self, size: int) -> None:
        """Note that so many characters are to be stored or sent. Raises RuleError beyond the limit of a record."""
        self.output += size
        if self.output > OUTPUT_LIMIT:
            raise RuleError(f"one record, or timer, may store and send {OUTPUT_LIMIT} characters, and this is more")

    def frozen(self, term: Any, what: str) -> Any:
        """The term as plain data that may be put into the store. Raises RuleError (see `freeze`)."""
        data, size = freeze_measured(term, what)
        self.count(size // FROZEN_A_STEP)
        self.put_out(size)
        return data

    # slots

    def value(self, event: Event, slot: str, raw: Any) -> Any:
        """`raw` as a value of that slot. Raises RuleError when the slot cannot hold it."""
        return self.value_of(event.cls, slot, raw)

    def value_of(self, cls: EventClass, slot: str, raw: Any) -> Any:
        """`raw` as a value of that slot of events of the class. Raises RuleError when the slot cannot hold it."""
        if type(raw) is list:
            if len(raw) > SLOT_ITEMS:
                raise RuleError(f"slot {slot!r} would hold more than {SLOT_ITEMS} items, the limit for rules")
            if sum([len(item) for item in raw if type(item) is str]) > SLOT_SIZE:
                raise RuleError(f"slot {slot!r} would hold more than {SLOT_SIZE} characters, the limit for rules")
        try:
            return cls.value(slot, raw)
        except EventRejected as wrong:
            raise RuleError(str(wrong)) from None

    def set_slot(self, event: Event, slot: str, raw: Any) -> bool:
        """Set a slot; tells whether it changed. Raises RuleError for a wrong slot or value."""
        if slot in FIXED_SLOTS:
            raise RuleError(f"slot {slot!r} is part of the event's key and cannot be changed")
        value = self.value(event, slot, raw)
        if type(value) is list or (type(value) is str and len(value) > SHORT):
            self.put_out(size_of(value))
        return self.assign(event, slot, value)

    def assign(self, event: Event, slot: str, value: Any) -> bool:
        """Set a slot to a value that fits; tells whether it changed."""
        if event.get(slot) == value:
            return False
        if event is self.analysed and slot in self.selecting:
            self.analysed_changed = True
        if not event.stored:
            event.slots[slot] = value
            return True
        if slot in event.shape.reindex:
            self.cache.remove(event)
            event.slots[slot] = value
            self.cache.add(event)
        else:
            event.slots[slot] = value
        self.touch(event)
        return True

    def touch(self, event: Event) -> None:
        """Mark a stored event as modified now."""
        if event.stored:
            event.slots["last_modified_time"] = self.seconds
            self.changed[event.eid] = event

    # changes

    def request_change(self, event: Event, slot: str, raw: Any, sender: Struct) -> bool:
        """Ask for a change in the name of `sender`, rule(SET) or operator(NAME); tells whether the slot changed.

        Change rules see the event as it still is, and may drop the request (tec.md 3.2); what is there already is no
        change. Raises RuleError for a wrong slot or value, and for requests that are nested too deeply.
        """
        if slot in FIXED_SLOTS:
            raise RuleError(f"slot {slot!r} is part of the event's key and cannot be changed")
        value = self.value(event, slot, raw)
        if event.get(slot) == value:
            return False
        if type(value) is list or (type(value) is str and len(value) > SHORT):
            self.put_out(size_of(value))
        refused = self.ask(event, slot, value, sender)
        if refused is not None:
            sentence = (
                f"{slot} of {event} was not changed to {show(value)}: rule {refused.full_name} dropped the request"
            )
            self.note(sentence[:400])
            changed = False
        else:
            name = str(sender.args[0])
            changed = self.change(event, slot, value, f"{name}.rls" if sender.name == "rule" else name)
        if self.steps < 0:
            raise StepLimitError  # change rules spent what the rule that asks had
        return changed

    def change(self, event: Event, slot: str, value: Any, administrator: str) -> bool:
        """Make a change that was granted; tells whether the slot changed.

        Closing fills the duration, ACK and CLOSED the administrator (tec-2.md 3.5).
        """
        if not self.assign(event, slot, value):
            return False
        if slot == "status":
            if value in (CLOSED, "ACK"):
                self.assign(event, "administrator", administrator)
            if value == CLOSED:
                self.assign(event, "duration", max(0, self.seconds - event.key[0]))
        return True

    def drop_request(self) -> None:
        """Refuse the change request that is under evaluation; rules go on."""
        if not self.requests:
            raise RuleError("only a change rule can drop a change request")
        if self.refused is None:
            self.refused = self.rule
            self.note(f"dropped the change request for {self.event}")

    def drop(self) -> None:
        """Mark the received event as dropped; evaluation goes on (tec-2.md 3.1)."""
        if not self.receiving:
            what = "a change rule drops the request: drop_change_request" if self.requests else "this one is stored"
            raise RuleError(f"only an event that was just received can be dropped; {what}")
        if self.dropped is None:
            self.dropped = self.rule
            self.note("dropped the event")

    # events, timers, programs

    def generate(self, shape: Shape, slots: dict[str, Any]) -> None:
        """Queue a new event behind the one under analysis. Raises RuleError beyond the limit of a record."""
        if self.derived_count >= DERIVED_LIMIT:
            raise RuleError(f"one record may generate {DERIVED_LIMIT} events, and this is one more; it was left out")
        self.put_out(sum(map(size_of, slots.values())))
        self.derived_count += 1
        self.cause += 1
        self.derived.append(Derived(shape, slots, digest(self.parent, self.rule.full_name, self.cause)))

    def redo(self, event: Event) -> None:
        """Queue an event to be analysed again behind the one under analysis, if it is stored by then.

        Raises RuleError beyond the limit of a record, and for an event that was dropped.
        """
        if not event.stored and event is not self.analysed:
            raise RuleError("only a stored event, or the one under analysis, can be analysed again")
        if self.derived_count >= DERIVED_LIMIT:
            raise RuleError(f"one record may analyse {DERIVED_LIMIT} events again, and this is one more")
        self.derived_count += 1
        self.cause += 1
        self.derived.append(Redo(event, digest(self.parent, self.rule.full_name, self.cause)))

    def notice(self, class_name: str, message: str, **more: Any) -> None:
        """Queue an event of the engine's own; a rule base without that class does without."""
        shape = self.shapes.find(class_name)
        if shape is None:
            return
        self.cause += 1
        said = {"source": "TEC", "sub_source": "tec_rule", "hostname": "TECServer", "msg": message[:1000], **more}
        slots = {slot: value for slot, value in said.items() if slot in shape.defaults}
        self.derived.append(Derived(shape, slots, digest(self.parent, class_name, self.cause)))

    def complain(self, rule: CompiledRule, place: str, message: str) -> None:
        """Say what is wrong with a rule: in its outcome, and once a minute for each rule as a TEC_Error."""
        place = place or rule.place
        self.note(f"failed at {place}: {message}"[:400])
        last = self.store.get(_COMPLAINT, rule.full_name)
        if last is None or self.seconds - last >= NOTICE_SECONDS:
            self.store.put(_COMPLAINT, rule.full_name, self.seconds)
            file, _, line = place.rpartition(":")
            text = f"{place}: rule {rule.full_name}: {message}"
            self.notice("TEC_Error", text, rule_set=rule.set_name, rule=rule.name, file=file, line=int(line))

    def unmatched(self, rule: CompiledRule, error: Exception) -> str:
        """Complain of a rule whose filter raised one of FILTER_FAULTS, and so does not match; gives the reason."""
        self.rule = rule
        reason = error.message if isinstance(error, RuleError) else "it takes more than a record may"
        self.complain(rule, "", f"the filter cannot be tested: {reason}")
        return reason

    def set_timer(self, event: Event, seconds: int, info: Any) -> Timer:
        """Set a timer, at least a second ahead so that a timer rule cannot spin. Raises RuleError if it is too long."""
        if seconds > LONGEST_TIMER:
            raise RuleError(f"a timer of {seconds} s is longer than ten years")
        if len(self.timers) >= TIMER_LIMIT:
            raise RuleError(f"{TIMER_LIMIT} timers are pending already; cancel those that are not needed any more")
        timer = Timer(self.next_timer, self.now + max(1, seconds) * MICROSECONDS, event.eid, seconds, info)
        self.next_timer += 1
        self.timers.set(timer, event)
        self.timers_set[timer.id] = timer
        return timer

    def cancel_timer(self, timer: Timer) -> None:
        self.timers.cancel(timer)
        self.forget_timer(timer)

    def forget_timer(self, timer: Timer) -> None:
        """Leave a trace in the effects that a timer is gone: cancelled, or fired."""
        if self.timers_set.pop(timer.id, None) is None:
            self.timers_cancelled.append(timer.id)

    def start_program(
        self,
        event: Event,
        argv: list[str],
        environment: dict[str, str],
        *,
        kind: str = "program",
        name: str = "",
        watch: bool = False,
        forward: list[Any] | None = None,
    ) -> None:
        """Put a program, a task or an event for another server into the outbox (Program says what each needs).

        Raises RuleError beyond the limit of a record.
        """
        if self.program_count >= PROGRAM_LIMIT:
            raise RuleError(f"one record may start {PROGRAM_LIMIT} programs, and this is one more; it was left out")
        said = (*argv, *environment.values(), *(forward[1].values() if forward else ()))
        self.put_out(sum(map(size_of, said)))
        self.program_count += 1
        number = len(self.programs)
        identity = digest(self.position, self.rule.full_name, number)
        asked = Program(identity, event.eid, argv, environment, 0, kind, name, watch, str(event), forward)
        self.programs.append(asked)
