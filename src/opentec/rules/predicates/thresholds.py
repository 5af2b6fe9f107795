"""Thresholds: so many events of a kind within a time, counted for each key apart (tec.md 3.7, 3.8).

The names are TEC's (tec.md 3.6), the arguments and what counts as reached our choice: a threshold is reached by the
event that makes the number full. TEC's event_thresholds tells "10 in 60 s" at the eleventh: write 11 for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from opentec.rules.evaluation import Evaluation, digest
from opentec.rules.event import Event
from opentec.rules.predicates.criteria import criterion
from opentec.rules.predicates.definitions import THRESHOLD, definitions
from opentec.rules.predicates.keys import KEY_LIMIT, key_of
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.windows import LONGEST, SLIDING_LIMIT, Rate, Windows
from opentec.rules.terms import RuleError, show, unify

KEY_SLOTS: Final = 10  # slots that a threshold counts by
CLASS: Final = "class"  # stands for the name of the event's class among them
_NUMBER_LIMIT: Final = 1_000_000_000
_RESET: Final = "threshold_reset"  # section of the store: how often a threshold was reset as a whole


_Key = Callable[[Event], str]


class _Threshold:
    __slots__ = ("_windows", "criteria", "key", "name", "rate", "slots")

    def __init__(self, run: Evaluation, name: str, data: Any) -> None:
        self.name = name
        self._windows = run.store.view(Windows)
        self.criteria = criterion(run, data["criteria"])
        self.slots: list[str] = data["slots"]
        number, seconds, mode, quiet = data["number"], data["seconds"], data["mode"], data["quiet"]
        # values that were counted under another definition, or before a reset, are not ours
        mark = digest(self.slots, number, seconds, mode, quiet, run.store.get(_RESET, name, 0))[:12]
        self.rate = Rate(mark, number, seconds, sliding=mode == "sliding", quiet=quiet)
        # gives the key that an event counts for, or "" when it lacks a slot
        self.key = _key(name, self.slots)

    def count(self, run: Evaluation, event: Event) -> int:
        """Count an event of the right kind: 0, or how many it took when it makes the number full."""
        if not self.criteria.accepts(event):
            return 0
        key = self.key(event)
        return self._windows.count(run, key, event, self.rate) if key else 0


def _key(name: str, slots: list[str]) -> _Key:
    """What makes the keys of a threshold: a JSON list of its name and the values.

    Where the values are at most a class and an ASCII text, as nearly always, they are put behind the name without that:
    such a key begins as no list does.
    """
    what = f"the key of threshold {name!r}"
    begin = key_of(name, what)

    def listed(event: Event) -> str:
        values = [event.shape.name if slot == CLASS else event.get(slot) for slot in slots]
        if None in values:
            return ""
        return key_of(["threshold", name, *values], what)

    by_class = slots[:1] == [CLASS]
    rest = slots[1:] if by_class else slots
    if len(rest) > 1 or CLASS in rest or not begin.isascii():
        return listed
    if not rest:
        return (lambda event: f"{begin}/{event.shape.name}") if by_class else (lambda event: begin)
    slot = rest[0]

    def short(event: Event) -> str:
        slots = event.slots
        value = slots[slot] if slot in slots else event.defaults.get(slot)
        if type(value) is not str or not value.isascii():
            return listed(event)
        # the name of a class holds no "="
        key = f"{begin}/{event.shape.name}={value}" if by_class else f"{begin}={value}"
        return key if len(key) <= KEY_LIMIT else listed(event)

    return short


def _create(run: Evaluation, name: str, of: str, slots: Any, number: int, seconds: int) -> bool:
    return _create_full(run, name, of, slots, number, seconds, "fixed", 0)


def _create_full(
    run: Evaluation, name: str, of: str, slots: Any, number: int, seconds: int, mode: str, quiet: int
) -> bool:
    what = f"threshold {name!r}"
    criteria = criterion(run, of)
    if type(slots) is not list or len(slots) > KEY_SLOTS or any(type(slot) is not str for slot in slots):
        raise RuleError(f"{what}: the slots to count by are a list of at most {KEY_SLOTS}, such as [hostname], or []")
    for slot in slots:
        if slot != CLASS:
            criteria.check_slot(run, slot, what)
    if mode not in ("fixed", "sliding"):
        raise RuleError(f"{what}: a window is fixed or sliding, not {mode[:40]!r}")
    most = SLIDING_LIMIT if mode == "sliding" else _NUMBER_LIMIT
    if not 1 <= number <= most:
        raise RuleError(f"{what}: the number of events is 1 to {most} in a {mode} window, not {number}")
    if not 1 <= seconds <= LONGEST or not 0 <= quiet <= LONGEST:
        raise RuleError(f"{what}: a time is a second to ten years; the quiet time may be 0")
    data = {"criteria": of, "slots": slots, "number": number, "seconds": seconds, "mode": mode, "quiet": quiet}
    definitions(run).put(run, THRESHOLD, name, data)
    return True


def _threshold(run: Evaluation, name: str) -> _Threshold:
    known = definitions(run)
    found: _Threshold | None = known.made(run).get((THRESHOLD, name))
    if found is not None:
        return found
    return known.compiled(run, (THRESHOLD, name), lambda: _Threshold(run, name, known.get(THRESHOLD, name)))


def _check(run: Evaluation, event: Event, name: str) -> bool:
    return _threshold(run, name).count(run, event) > 0


def _check_counted(run: Evaluation, event: Event, name: str, count: Any) -> bool:
    counted = _threshold(run, name).count(run, event)
    return counted > 0 and unify(count, counted, run.trail)


def _of_class(run: Evaluation, class_name: str) -> tuple[_Threshold, ...]:
    """The thresholds that may concern events of a class, by name."""
    known = definitions(run)

    def make() -> tuple[_Threshold, ...]:
        every = [_threshold(run, name) for name in known.names(THRESHOLD)]
        return tuple(threshold for threshold in every if class_name in threshold.criteria.classes)

    return known.compiled(run, (THRESHOLD, "of class", class_name), make)


def _check_all(run: Evaluation, event: Event, name: Any) -> Iterator[bool]:
    # all of them count the event before the first solution: a commit must not decide who counts
    reached = []
    for threshold in _of_class(run, event.class_name):
        run.count(1)
        if threshold.count(run, event):
            reached.append(threshold.name)
    for one in reached:
        if unify(name, one, run.trail):
            yield True


def _reset(run: Evaluation, name: str) -> bool:
    known = definitions(run)
    known.get(THRESHOLD, name)
    run.store.put(_RESET, name, run.store.get(_RESET, name, 0) + 1)
    known.changed()
    run.note(f"reset threshold {show(name)}"[:200])
    return True


def _reset_one(run: Evaluation, event: Event, name: str) -> bool:
    run.store.view(Windows).forget(_threshold(run, name).key(event))
    run.note(f"reset threshold {show(name)} for {event}"[:200])
    return True


PREDICATES: Final[tuple[Predicate, ...]] = (
    Predicate(
        name="create_threshold",
        modes="ssvii",
        signature="create_threshold(name, criterion, [slot, ...], number, seconds)",
        effect="Defines a threshold: that many events of the criterion with the same values in the slots, within the "
        "seconds that begin with the first. `class` among the slots stands for the name of the event's class. Counts "
        "go on when the definition is the same as before.",
        determinism="det",
        example="create_threshold(storm, 'EVENT', [hostname], 10, 60)",
        function=_create,
    ),
    Predicate(
        name="create_threshold",
        modes="ssviisi",
        signature="create_threshold(name, criterion, [slot, ...], number, seconds, fixed|sliding, quiet)",
        effect="The same with a window that is fixed or slides with every event, and a time in seconds for which it is "
        "not reached again.",
        determinism="det",
        example="create_threshold(logins, 'EVENT', [hostname, msg], 5, 60, sliding, 300)",
        function=_create_full,
    ),
    Predicate(
        name="check_threshold",
        modes="es",
        signature="check_threshold(_event, name)",
        effect="Counts the event, if the threshold's criterion takes it; succeeds when that makes the number full, and "
        "begins anew. An event counts once, however often it is checked.",
        determinism="semidet",
        example="check_threshold(_event, storm)",
        function=_check,
    ),
    Predicate(
        name="check_threshold",
        modes="est",
        signature="check_threshold(_event, name, _count)",
        effect="The same; gives how many events it took, with those of the quiet time.",
        determinism="semidet",
        example="check_threshold(_event, storm, _number)",
        function=_check_counted,
    ),
    Predicate(
        name="check_all_thresholds",
        modes="et",
        signature="check_all_thresholds(_event, _name)",
        effect="Counts the event for every threshold whose criterion takes it, and gives the names of those that it "
        "makes full, sorted.",
        determinism="nondet",
        example="check_all_thresholds(_event, _name)",
        function=_check_all,
        many=True,
    ),
    Predicate(
        name="reset_threshold",
        modes="s",
        signature="reset_threshold(name)",
        effect="Lets a threshold count from the beginning, for all keys.",
        determinism="det",
        example="reset_threshold(storm)",
        function=_reset,
    ),
    Predicate(
        name="reset_threshold",
        modes="es",
        signature="reset_threshold(_event, name)",
        effect="Lets a threshold count from the beginning for events that have the key of this one.",
        determinism="det",
        example="reset_threshold(_event, storm)",
        function=_reset_one,
    ),
)
