"""What a predicates.py uses: the decorator, and the types that are the rule language's own.

Nothing of the engine is imported here, so predicates can be tested with pytest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final, NamedTuple, NewType, Protocol, TypeVar, overload

from opentec.events.names import nearest, shown

Function = TypeVar("Function", bound=Callable[..., Any])
Seconds = NewType("Seconds", int)
"""Log time, in seconds since 1970. The engine fills in a parameter of this type; rules do not write it."""
Value = Any
"""Of a parameter or a result: a text, a number, or a list of these."""

MARKS: Final = "__opentec_predicates__"  # in a module: its predicates, in the order of the text


class Mark(NamedTuple):
    """A function that `predicate` was put on, and the name it has in rules."""

    function: Callable[..., Any]
    name: str


@overload
def predicate(function: Function, /) -> Function: ...
@overload
def predicate(*, name: str) -> Callable[[Function], Function]: ...
def predicate(function: Any = None, /, *, name: str = "") -> Any:
    """Make a function a predicate of the rule language; `name` is by default the function's.

    Parameters become arguments, results become further arguments behind them, by the annotations
    (docs/user-predicates.md). The function itself stays as it is. Raises TypeError for what is no function.
    """

    def mark(function: Any) -> Any:
        if not isinstance(function, FunctionType):
            raise TypeError(f"@predicate stands before a function, not before {type(function).__name__}")
        function.__globals__.setdefault(MARKS, []).append(Mark(function, name or function.__name__))
        return function

    return mark if function is None else mark(function)


class _Class(Protocol):
    def is_a(self, name: str, /) -> bool: ...


class _Event(Protocol):  # what is read of rules.event.Event
    defaults: Mapping[str, Any]

    @property
    def class_name(self) -> str: ...
    @property
    def cls(self) -> _Class: ...
    def get(self, slot: str, /) -> Any: ...


class EventView:
    """An event to read: `view["hostname"]`, `view.class_name`, `view.key`. Nothing of it can be changed."""

    __slots__ = ("_event",)

    def __init__(self, event: _Event) -> None:
        self._event = event

    @classmethod
    def of(cls, class_name: str, *ancestors: str, **slots: Any) -> EventView:
        """A made-up event, for tests of predicates; `ancestors` are the classes that its class inherits from."""
        return cls(_MadeUp(class_name, ancestors, slots))

    @property
    def class_name(self) -> str:
        return self._event.class_name

    @property
    def key(self) -> str:
        """The event's key as `tec why` takes it."""
        return str(self._event)

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the class's slots, sorted."""
        return tuple(sorted(self._event.defaults))

    def is_a(self, class_name: str) -> bool:
        """Whether the event's class is `class_name` or inherits from it."""
        return class_name == self.class_name or self._event.cls.is_a(class_name)

    def get(self, slot: str, default: Any = None) -> Any:
        """The slot's value, the class's default included; `default` when the class has no such slot."""
        value = self._event.get(slot)
        if value is None:
            return default
        return list(value) if type(value) is list else value

    def __getitem__(self, slot: str) -> Any:
        """The same; raises KeyError when the class has no such slot."""
        value = self.get(slot)
        if value is None:
            near = nearest(slot, self.slots)
            hint = f"; did you mean {near!r}?" if near else ""
            raise KeyError(f"class {self.class_name} has no slot {shown(slot)}{hint}")
        return value

    def __contains__(self, slot: str) -> bool:
        return self._event.get(slot) is not None

    def __repr__(self) -> str:
        return f"<EventView {self.class_name} {self.key}>"


class _MadeUp:
    def __init__(self, class_name: str, ancestors: tuple[str, ...], slots: dict[str, Any]) -> None:
        self.class_name = class_name
        self.defaults: Mapping[str, Any] = slots
        self._is = frozenset((*ancestors, "EVENT"))

    @property
    def cls(self) -> _MadeUp:
        return self

    def get(self, slot: str) -> Any:
        return self.defaults.get(slot)

    def is_a(self, name: str) -> bool:
        return name in self._is

    def __str__(self) -> str:
        return "0.0"
