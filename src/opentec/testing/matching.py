"""Expectations against the events of the repository."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from opentec.events.image import key_name
from opentec.rules.event import Event
from opentec.testing.binding import Wanted
from opentec.testing.instants import SECOND, show_instant
from opentec.testing.results import Difference, Near

NEAREST: Final = 2  # events shown beside an expectation that nothing meets
UNWANTED: Final = 5  # events shown that should not be there


def unmet(wanted: Sequence[Wanted], events: Sequence[Event]) -> list[tuple[Wanted, tuple[Near, ...]]]:
    """The expectations that are left over when each gets an event of its own, with the nearest events.

    As many as possible are met: one event that could meet two expectations goes where it is needed.
    """
    choices = [[at for at, event in enumerate(events) if want.matches(event)] for want in wanted]
    owner: dict[int, int] = {}
    left = [number for number in range(len(wanted)) if not _give(number, choices, owner, set())]
    return [(wanted[number], _nearest(wanted[number], events, owner)) for number in left]


def _give(number: int, choices: Sequence[Sequence[int]], owner: dict[int, int], seen: set[int]) -> bool:
    """Find an event for an expectation; its owner may have to take another one."""
    for at in choices[number]:
        if at not in owner:
            owner[at] = number
            return True
    for at in choices[number]:
        if at not in seen:
            seen.add(at)
            if _give(owner[at], choices, owner, seen):
                owner[at] = number
                return True
    return False


def _nearest(want: Wanted, events: Sequence[Event], owner: Iterable[int]) -> tuple[Near, ...]:
    taken = set(owner)

    def distance(at: int) -> tuple[bool, int, bool, int]:
        differences = want.differences(events[at])
        return "class" in differences, len(differences), at in taken, -at

    order = sorted(range(len(events)), key=distance)
    # an event of another class explains something only where there is none of this one, and it has some slot right
    same_class = bool(order) and not distance(order[0])[0]
    near = [events[at] for at in order if (not distance(at)[0] if same_class else distance(at)[1] <= len(want.values))]
    return tuple(show_near(want, event) for event in near[:NEAREST])


def show_near(want: Wanted, event: Event) -> Near:
    """An event as it is beside an expectation: every slot that was named, wanted and actual."""
    differences = want.differences(event)
    slots = [Difference("class", *differences["class"])] if "class" in differences else []
    for slot in want.values:
        actual = event.get(slot)
        slots.append(Difference(slot, *differences.get(slot, (actual, actual))))
    received = show_instant(event.get("date_reception") * SECOND)
    return Near(key_name(event.key), event.class_name, received, tuple(slots))


def unwanted(want: Wanted, events: Iterable[Event]) -> tuple[Near, ...]:
    """The events that match although none should; at most UNWANTED of them."""
    found = [event for event in events if want.matches(event)]
    return tuple(show_near(want, event) for event in found[:UNWANTED])
