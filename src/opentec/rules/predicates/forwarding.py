"""Events for other servers. The engine keeps the destination's name; tec_task finds its servers (docs/tasks.md)."""

from __future__ import annotations

from typing import Any, Final

from opentec.rules.destinations import DEFAULT, NAME
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.registry import Predicate
from opentec.rules.terms import RuleError

HOPS: Final = 16  # servers that an event may have passed through
_TEXT_LIMIT: Final = 1 << 20  # characters of all slots of a forwarded event


def server_names(path: Any) -> list[str]:
    """The logical names of the servers in a server_path, whose entries are NAME@INSTANCE or NAME."""
    return [str(entry).partition("@")[0] for entry in path or ()]


def _forward(run: Evaluation, event: Event, destination: str = DEFAULT) -> bool:
    if not NAME.fullmatch(destination):
        raise RuleError(f"{destination[:80]!r} is not the name of a destination: letters, digits and _ . -, 64 at most")
    path = event.get("server_path") or []
    if destination in server_names(path):
        run.note(f"not forwarded to {destination}: it has passed that server")
        return True
    if len(path) >= HOPS:
        run.note(f"not forwarded to {destination}: it has passed {len(path)} servers, {HOPS} at most")
        return True
    slots = _slots(event)
    if sum(len(str(value)) for value in slots.values()) > _TEXT_LIMIT:
        raise RuleError(f"an event of more than {_TEXT_LIMIT} characters cannot be forwarded")
    run.start_program(event, [], {}, kind="forward", name=destination, forward=[event.class_name, slots])
    run.note(f"forwards the event to {destination}")
    return True


def _slots(event: Event) -> dict[str, Any]:
    """What another server should know: what was said, and defaults that are not empty, since its own may differ.

    Slots that are not parsed belong to the server that keeps them: key, administrator, links to causes.
    """
    definitions = event.cls.slots
    slots = {}
    for slot in event.defaults:
        value = event.get(slot)
        if definitions[slot].parse and (slot in event.slots or value not in ("", [], 0, None)):
            slots[slot] = value
    return slots


def _predicate(modes: str, arguments: str, effect: str, example: str) -> Predicate:
    return Predicate(
        name="forward_event",
        modes=modes,
        signature=f"forward_event({arguments})",
        effect=effect,
        determinism="det",
        example=example,
        function=_forward,
    )


PREDICATES: Final[tuple[Predicate, ...]] = (
    _predicate(
        "e",
        "_event",
        "Sends the event to the first destination of tec_forward.conf, as it is now. "
        "The other server takes it once. What has passed there already stays here.",
        "forward_event(_event)",
    ),
    _predicate(
        "es",
        "_event, destination",
        "Sends the event to the destination of that name in tec_forward.conf.",
        "forward_event(_event, 'headquarters')",
    ),
)
