"""Values that rules keep under names of their own: one or two keys, each a text or a whole number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from opentec.rules.store import Store
from opentec.rules.terms import RuleError, resolve, show, sort_key

KEY_LIMIT: Final = 1_024  # characters of a key
Keys = tuple[Any, ...]
_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


def check_key(key: Any, what: str) -> Any:
    """A key that has a value. Raises RuleError for what is neither text nor a whole number, and for a long text."""
    if type(key) is not str:
        key = resolve(key)
    if type(key) is str:
        if len(key) > KEY_LIMIT:
            raise RuleError(f"{what} is longer than {KEY_LIMIT} characters")
    elif type(key) is not int:
        raise RuleError(f"{what} must be a text or a whole number, not {show(key)[:80]!r}")
    return key


class Keyed:
    """A section of the store by keys (a view): the first key leads to the others, so that a group is no search."""

    section = ""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.watchers: dict[Keys, list[Callable[[], None]]] = {}  # called when this was set
        self._groups: dict[Any, dict[Keys, Any]] = {}
        for name, value in store.section(self.section).items():
            keys = tuple(_from_json(name))
            self._groups.setdefault(keys[0], {})[keys] = value

    def get(self, keys: Keys) -> Any:
        """The value, or None."""
        group = self._groups.get(keys[0])
        return None if group is None else group.get(keys)

    def put(self, keys: Keys, value: Any) -> None:
        """Set a value; None deletes it."""
        if value is None:
            group = self._groups.get(keys[0])
            if group is None or group.pop(keys, None) is None:
                return
            if not group:
                del self._groups[keys[0]]
        else:
            self._groups.setdefault(keys[0], {})[keys] = value
        self._store.put(self.section, _to_json(keys).decode(), value)
        for told in self.watchers.get(keys, ()):
            told()

    def size(self, first: Any = None) -> int:
        """How many values there are below a first key, or in all."""
        return len(self._store.section(self.section) if first is None else self._groups.get(first, ()))

    def groups(self) -> list[Any]:
        """All first keys, sorted."""
        return sorted(self._groups, key=sort_key)

    def group(self, first: Any) -> list[tuple[Keys, Any]]:
        """Everything below a first key, sorted by the keys."""
        found = self._groups.get(first, {})
        return [(keys, found[keys]) for keys in sorted(found, key=lambda keys: sort_key(list(keys)))]

    def all(self) -> Iterator[tuple[Keys, Any]]:
        """Everything, sorted; what is changed meanwhile is not seen."""
        for items in [self.group(first) for first in self.groups()]:
            yield from items
