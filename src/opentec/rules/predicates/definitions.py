"""What `create_...` predicates define: criteria, searches, thresholds, sequences, clearing events.

A definition is plain data in the store, by kind and name; what is compiled from it is a view and comes back after a
restart. Defining again replaces; an equal definition changes nothing. A rule base that is loaded anew defines anew:
with the first definition made for its TEC_Rulebase_Loaded, all that were made for an earlier one are gone, so that
what was taken out of the rules is not in force for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, TypeVar

from opentec.events.names import nearest, shown
from opentec.rules.evaluation import Evaluation, size_of
from opentec.rules.event import Shapes
from opentec.rules.store import Store
from opentec.rules.terms import RuleError

T = TypeVar("T")

LOADED: Final = "TEC_Rulebase_Loaded"  # the event on which <set>_configure rules run
CRITERIA: Final = "criteria"
SEARCH: Final = "search"
THRESHOLD: Final = "threshold"
SEQUENCE: Final = "sequence"
CLEARING: Final = "clearing"
# section of the store: what a message calls it, and the predicate that makes it
KINDS: Final = {
    CRITERIA: ("event criterion", "create_event_criteria"),
    SEARCH: ("cache search criterion", "create_cache_search_criteria"),
    THRESHOLD: ("threshold", "create_threshold"),
    SEQUENCE: ("event sequence", "create_event_sequence"),
    CLEARING: ("clearing event", "create_clearing_event"),
}
LIMIT: Final = 10_000  # definitions of one kind
NAME_LIMIT: Final = 256  # characters of a name
SIZE_LIMIT: Final = 1_000_000  # characters of one definition
TEXTS_LIMIT: Final = 1_000  # texts in one list of names
_META: Final = "definition"  # section of the store: `load`, the number of the event of the last load
_LOAD: Final = "load"


class Definitions:
    """All definitions: a view of the store, with what was compiled from them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shapes: Shapes | None = None
        self._compiled: dict[Hashable, Any] = {}

    def names(self, kind: str) -> list[str]:
        """The names of all definitions of a kind, sorted."""
        return sorted(self._store.section(kind))

    def find(self, kind: str, name: str) -> Any:
        """The data of a definition, or None."""
        found = self._store.get(kind, name)
        return None if found is None else found[1]

    def get(self, kind: str, name: str) -> Any:
        """The data of a definition. Raises RuleError when there is none of that name."""
        found = self._store.get(kind, name)
        if found is None:
            raise RuleError(self.missing(kind, name, self._store.section(kind)))
        return found[1]

    @staticmethod
    def missing(kind: str, name: str, names: Iterable[str]) -> str:
        """The message that a name is not defined, with the nearest of `names`."""
        what, maker = KINDS[kind]
        near = nearest(name, sorted(names))
        hint = f"did you mean {near!r}?" if near else f"{maker} defines it, in a rule on {LOADED}"
        return f"{what} {shown(name)} is not defined; {hint}"

    def put(self, run: Evaluation, kind: str, name: str, data: Any) -> None:
        """Define. `data` is plain and has no tuples. Raises RuleError for a bad name or when there are too many."""
        what = KINDS[kind][0]
        if not name or len(name) > NAME_LIMIT:
            raise RuleError(f"the name of this {what} has 1 to {NAME_LIMIT} characters")
        size = size_of(list(data.values()))
        if size > SIZE_LIMIT:
            raise RuleError(f"{what} {shown(name)} has more than {SIZE_LIMIT} characters")
        run.put_out(size)
        load = run.event.eid if run.event.class_name == LOADED else 0
        if load > self._store.get(_META, _LOAD, 0):
            self._begin_load(load)
        old = self._store.get(kind, name)
        if old == [load, data]:
            return
        if old is None and len(self._store.section(kind)) >= LIMIT:
            raise RuleError(f"{what} {shown(name)} is one more than the {LIMIT} that there may be; use fewer names")
        self._store.put(kind, name, [load, data])
        self._compiled.clear()
        run.note(f"defined {what} {shown(name)}")

    def _begin_load(self, load: int) -> None:
        self._store.put(_META, _LOAD, load)
        for kind in KINDS:
            for name in self.names(kind):
                if self._store.get(kind, name)[0]:
                    self._store.put(kind, name, None)
        self._compiled.clear()

    def changed(self) -> None:
        """Forget what was compiled: something that it was made from is not the same any more."""
        self._compiled.clear()

    def made(self, run: Evaluation) -> Mapping[Hashable, Any]:
        """What `compiled` has made and still holds, by key: for whoever asks for every event."""
        if run.shapes is not self._shapes:
            self._shapes = run.shapes
            self._compiled.clear()
        return self._compiled

    def compiled(self, run: Evaluation, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once per key until a definition or the rule base's classes change."""
        found: T | None = self.made(run).get(key)
        if found is None:
            found = self._compiled[key] = make()
        return found


def definitions(run: Evaluation) -> Definitions:
    return run.store.view(Definitions)


def text_list(value: Any, what: str) -> list[str]:
    """A text or a list of texts as a list. Raises RuleError when it is something else, or empty."""
    items = value if type(value) is list else [value]
    if not items or any(type(item) is not str for item in items):
        raise RuleError(f"{what} must be text or a list of texts")
    if len(items) > TEXTS_LIMIT:
        raise RuleError(f"{what} are more than {TEXTS_LIMIT}")
    return items
