"""What a rule can do: the engine's state, the record that is processed, and every effect on events.

Predicates get an `Evaluation` as their first argument. It has no clock, disk or socket: `now` is log time.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from opentec.events.errors import EventRejected
from opentec.rules.cache import EventCache
from opentec.rules.effects import Program, Timer
from opentec.rules.event import CLOSED, FIXED_SLOTS, Event, Shape, Shapes
from opentec.rules.store import Store
from opentec.rules.terms import RuleError, StepLimitError, Trail
from opentec.rules.timers import TimerTable

if TYPE_CHECKING:
    from opentec.rules.compiled import CompiledRule

MICROSECONDS: Final = 1_000_000
DERIVED_LIMIT: Final = 1000  # events that one record may generate
PROGRAM_LIMIT: Final = 1000  # programs that one record may start
DID_LIMIT: Final = 100  # sentences kept for one rule that fired
LONGEST_TIMER: Final = 10 * 366 * 86_400  # seconds
COMMIT_ACTION: Final = 1
COMMIT_RULE: Final = 2
COMMIT_SET: Final = 3


class Derived:
    """An event that waits to be processed after the one that caused it."""

    __slots__ = ("ident", "shape", "slots")

    def __init__(self, shape: Shape, slots: dict[str, Any], ident: str) -> None:
        self.shape = shape
        self.slots = slots
        self.ident = ident


def digest(*parts: object) -> str:
    """A stable identity of 32 hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Evaluation:
    """One record while rules look at it. The engine owns the only instance and resets it per record."""

    __slots__ = (
        "analysed_changed",
        "cache",
        "cause",
        "changed",
        "commit",
        "counted",
        "derived",
        "derived_count",
        "did",
        "dropped",
        "event",
        "next_timer",
        "now",
        "parent",
        "position",
        "programs",
        "receiving",
        "rule",
        "selecting",
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
        self.next_timer = 1
        self.selecting: frozenset[str] = frozenset()  # slots that the selection of rules depends on
        self.trail: Trail = []
        self.reset(0)

    def reset(self, position: int) -> None:
        """Begin a record."""
        self.position = position
        self.derived: list[Derived] = []
        self.derived_count = 0
        self.changed: dict[int, Event] = {}
        self.timers_set: dict[int, Timer] = {}
        self.timers_cancelled: list[int] = []
        self.programs: list[Program] = []
        self.timer: Timer | None = None
        self.event: Event = None  # type: ignore[assignment]  # set by analyse() before any rule runs
        self.rule: CompiledRule = None  # type: ignore[assignment]

    def analyse(self, event: Event, now: int, *, receiving: bool, timer: Timer | None = None) -> None:
        """Begin the evaluation of one event at `now`, microseconds of log time."""
        self.event = event
        self.now = now
        self.receiving = receiving
        self.timer = timer
        # what identities of derived events hang on; a timer's number keeps two firings apart
        self.parent = event.ident if timer is None else f"{event.ident}#{timer.id}"
        self.cause = 0
        self.dropped: CompiledRule | None = None
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

    # slots

    def value(self, event: Event, slot: str, raw: Any) -> Any:
        """`raw` as a value of that slot. Raises RuleError when the slot cannot hold it."""
        try:
            return event.cls.value(slot, raw)
        except EventRejected as wrong:
            raise RuleError(str(wrong)) from None

    def set_slot(self, event: Event, slot: str, raw: Any) -> bool:
        """Set a slot; tells whether it changed. Raises RuleError for a wrong slot or value."""
        if slot in FIXED_SLOTS:
            raise RuleError(f"slot {slot!r} is part of the event's key and cannot be changed")
        return self.assign(event, slot, self.value(event, slot, raw))

    def assign(self, event: Event, slot: str, value: Any) -> bool:
        """Set a slot to a value that fits; tells whether it changed."""
        if event.get(slot) == value:
            return False
        if event is self.event and slot in self.selecting:
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

    def change(self, event: Event, slot: str, raw: Any, administrator: str) -> bool:
        """The change path: as set_slot; closing fills the duration, ACK and CLOSED the administrator (tec-2.md 3.5)."""
        value = self.value(event, slot, raw)
        if not self.set_slot(event, slot, value):
            return False
        if slot == "status":
            if value in (CLOSED, "ACK"):
                self.assign(event, "administrator", administrator)
            if value == CLOSED:
                self.assign(event, "duration", max(0, self.seconds - event.key[0]))
        return True

    def drop(self) -> None:
        """Mark the received event as dropped; evaluation goes on (tec-2.md 3.1)."""
        if not self.receiving:
            raise RuleError("only an event that was just received can be dropped")
        if self.dropped is None:
            self.dropped = self.rule
            self.note("dropped the event")

    # events, timers, programs

    def generate(self, shape: Shape, slots: dict[str, Any]) -> None:
        """Queue a new event behind the one under analysis. Raises RuleError beyond the limit of a record."""
        if self.derived_count >= DERIVED_LIMIT:
            raise RuleError(f"one record may generate {DERIVED_LIMIT} events, and this is one more; it was left out")
        self.derived_count += 1
        self.cause += 1
        self.derived.append(Derived(shape, slots, digest(self.parent, self.rule.full_name, self.cause)))

    def set_timer(self, event: Event, seconds: int, info: Any) -> Timer:
        """Set a timer, at least a second ahead so that a timer rule cannot spin. Raises RuleError if it is too long."""
        if seconds > LONGEST_TIMER:
            raise RuleError(f"a timer of {seconds} s is longer than ten years")
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

    def start_program(self, event: Event, argv: list[str], environment: dict[str, str]) -> None:
        """Put a program into the outbox. Raises RuleError beyond the limit of a record."""
        if len(self.programs) >= PROGRAM_LIMIT:
            raise RuleError(f"one record may start {PROGRAM_LIMIT} programs, and this is one more; it was left out")
        number = len(self.programs)
        identity = digest(self.position, self.rule.full_name, number)
        self.programs.append(Program(identity, event.eid, argv, environment))
