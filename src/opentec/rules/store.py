"""What rules remember besides events and timers: counters, thresholds, global variables, facts.

One flat table of key and plain value, in sections; committed with the effects of the record that changed it, and the
same after a restart (spine: the rule process). Nothing here knows what a section means: predicates keep their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

SEPARATOR: Final = ":"  # between section and name in a stored key; keys of the engine's own have none
NOTHING: Final[Mapping[str, Any]] = {}


class Store:
    """Values by section and name.

    A value is what msgpack and JSON have in common (bool, int, float, str, lists, dicts with text keys). It is
    replaced, never changed in place: what was put may wait for its commit. The order of a section's names is not part
    of the state: it differs after a restart, so whoever enumerates sorts.
    """

    def __init__(self, state: Mapping[str, Any] = NOTHING) -> None:
        self._sections: dict[str, dict[str, Any]] = {}
        self._changes: dict[str, Any] = {}
        self._views: dict[Callable[[Store], Any], Any] = {}
        for key, value in state.items():
            section, separator, name = key.partition(SEPARATOR)
            if separator:
                self._sections.setdefault(section, {})[name] = value

    def get(self, section: str, name: str, default: Any = None) -> Any:
        """The value, or `default`."""
        return self._sections.get(section, NOTHING).get(name, default)

    def put(self, section: str, name: str, value: Any) -> None:
        """Set a value; None deletes it. `section` holds no colon."""
        values = self._sections.setdefault(section, {})
        if value is None:
            if values.pop(name, None) is None:
                return
        else:
            values[name] = value
        self._changes[section + SEPARATOR + name] = value

    def section(self, section: str) -> Mapping[str, Any]:
        """All values of a section by name, in no order to be relied on."""
        return self._sections.get(section, NOTHING)

    def view(self, kind: Callable[[Store], T]) -> T:
        """The one object of this kind that was made from the store, for those who need an index over a section.

        It is made when it is first asked for, and again after a restart. Whoever has it changes the section through
        it only, so that both agree.
        """
        found = self._views.get(kind)
        if found is None:
            found = self._views[kind] = kind(self)
        return found

    def take_changes(self) -> dict[str, Any]:
        """What was put since this was asked last, by stored key; None for what was deleted."""
        changes, self._changes = self._changes, {}
        return changes

    def items(self) -> Iterable[tuple[str, Any]]:
        """Everything, by stored key."""
        for section, values in self._sections.items():
            for name, value in values.items():
                yield section + SEPARATOR + name, value
