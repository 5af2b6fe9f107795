"""Expectations against what is there: events of the repository, actions, timers, values."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

from opentec.events.image import key_name
from opentec.rules.event import Event
from opentec.testing.expectations import Differences, Found, Wanted, WantedThing, show_field
from opentec.testing.instants import SECOND, show_instant
from opentec.testing.results import Difference, Near
from opentec.testing.spec_data import STATES

NEAREST: Final = 2  # shown beside an expectation that nothing meets
UNWANTED: Final = 5  # shown that should not be there
_SLOTS: Final = 12  # of an event that should not be there at all
_NAMES: Final = ("program", "task", *STATES)  # fields that say what something is

T = TypeVar("T", contravariant=True)


class _Matcher(Protocol[T]):
    def matches(self, found: T, /) -> bool: ...


def assign(wanted: Sequence[_Matcher[T]], there: Sequence[T]) -> dict[int, int]:
    """Which expectation each thing meets, by their numbers, when each expectation gets a thing of its own.

    As many as possible are met: what could meet two expectations goes where it is needed.
    """
    choices = [[at for at, thing in enumerate(there) if want.matches(thing)] for want in wanted]
    owner: dict[int, int] = {}
    for number in range(len(wanted)):
        _give(number, choices, owner)
    return owner


def _give(number: int, choices: Sequence[Sequence[int]], owner: dict[int, int]) -> bool:
    """Find a thing for an expectation; owners may have to take another one, the nearest first."""
    asked: dict[int, int] = {}  # the expectation that would take a thing, by the thing
    waiting = deque([number])
    while waiting:
        want = waiting.popleft()
        for at in choices[want]:
            if at in asked:
                continue
            asked[at] = want
            if at in owner:
                waiting.append(owner[at])
                continue
            has = {one: thing for thing, one in owner.items()} if want != number else {}
            while want != number:  # each hands over what it has
                owner[at], at = want, has[want]
                want = asked[at]
            owner[at] = number
            return True
    return False


def unmet_events(wanted: Sequence[Wanted], events: Sequence[Event]) -> list[tuple[Wanted, tuple[Near, ...]]]:
    """The expectations that no event is left for, with the nearest events."""
    owner = assign(wanted, events)
    met = set(owner.values())
    return [(want, _nearest_events(want, events, owner)) for at, want in enumerate(wanted) if at not in met]


def left_over(wanted: Sequence[Wanted], events: Sequence[Event]) -> tuple[Near, ...]:
    """The events that no expectation speaks of; at most UNWANTED of them."""
    owner = assign(wanted, events)
    left = [event for at, event in enumerate(events) if at not in owner]
    return tuple(_near(event, {slot: (value, value) for slot, value in _said(event)}) for event in left[:UNWANTED])


def _said(event: Event) -> list[tuple[str, object]]:
    defaults = event.defaults
    said = [(slot, value) for slot, value in event.slots.items() if value != defaults.get(slot)]
    keys = ("date_reception", "event_handle", "server_handle", "last_modified_time")
    return [(slot, value) for slot, value in said if slot not in keys][:_SLOTS]


def _nearest_events(want: Wanted, events: Sequence[Event], owner: Iterable[int]) -> tuple[Near, ...]:
    taken = set(owner)
    differences = [want.differences(event) for event in events]

    def distance(at: int) -> tuple[bool, int, bool, int]:
        return "class" in differences[at], len(differences[at]), at in taken, -at

    order = sorted(range(len(events)), key=distance)
    # an event of another class explains something only where there is none of this one, and it has some slot right
    same_class = bool(order) and not distance(order[0])[0]
    near = [events[at] for at in order if (not distance(at)[0] if same_class else distance(at)[1] <= len(want.values))]
    return tuple(show_near(want, event) for event in near[:NEAREST])


def show_near(want: Wanted, event: Event) -> Near:
    """An event as it is beside an expectation: every slot that was named, wanted and actual."""
    differences = want.differences(event)
    slots: Differences = {"class": differences["class"]} if "class" in differences else {}
    for slot in want.values:
        actual = event.get(slot)
        slots[slot] = differences.get(slot, (actual, actual))
    return _near(event, slots | differences)


def _near(event: Event, slots: Differences) -> Near:
    received = show_instant(event.get("date_reception") * SECOND)
    said = tuple(Difference(slot, *both) for slot, both in slots.items())
    return Near(key_name(event.key), event.class_name, received, said)


def unwanted_events(want: Wanted, events: Iterable[Event]) -> tuple[Near, ...]:
    """The events that match although none should; at most UNWANTED of them."""
    found = [event for event in events if want.matches(event)]
    return tuple(show_near(want, event) for event in found[:UNWANTED])


# what is no event


def unmet_things(
    wanted: Sequence[WantedThing], there: Sequence[Found], *, shared: bool = False
) -> list[tuple[WantedThing, tuple[Near, ...]]]:
    """The same for actions, forwarded events and timers; `shared` where one thing may meet several expectations."""
    owner = {} if shared else assign(wanted, there)
    met = {at for at, want in enumerate(wanted) if any(map(want.matches, there))} if shared else set(owner.values())
    return [(want, _nearest_things(want, there, owner)) for at, want in enumerate(wanted) if at not in met]


def _nearest_things(want: WantedThing, there: Sequence[Found], owner: Iterable[int]) -> tuple[Near, ...]:
    taken = set(owner)
    near = list(range(len(there)))
    names = next((field for field in want.fields if field in _NAMES), "")
    if names:
        # a program is not near to a task, a counter never to a fact
        alike = [at for at in near if there[at].fields.get(names) is not None]
        near = alike if alike or names in STATES else near
    differences = {at: want.differences(there[at]) for at in near}
    order = sorted(near, key=lambda at: (names in differences[at], len(differences[at]), at in taken, -at))
    return tuple(_near_thing(want, there[at], differences[at]) for at in order[:NEAREST])


def _near_thing(want: WantedThing, found: Found, differences: Differences) -> Near:
    slots: Differences = {}
    for field in want.fields:
        actual = show_field(field, found.fields.get(field))
        slots[field] = differences.get(field, (actual, actual))
    if want.event is not None and found.event is not None:
        for slot in want.event.values:
            actual = found.event.get(slot)
            slots[f"event.{slot}"] = differences.get(f"event.{slot}", (actual, actual))
    return Near("", "", "", tuple(Difference(slot, *both) for slot, both in (slots | differences).items()), found.title)


def unwanted_things(want: WantedThing, there: Iterable[Found]) -> tuple[Near, ...]:
    """Those that match although none should; at most UNWANTED of them."""
    return titles([found for found in there if want.matches(found)])


def titles(there: Sequence[Found]) -> tuple[Near, ...]:
    """Things that should not be there; at most UNWANTED of them."""
    return tuple(Near("", "", "", (), found.title) for found in there[:UNWANTED])
