"""What an event is: classes (BAROC), typed slots, the event text form, the records of the log.

The names below load their module on first use, so that a client command pays only for what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentec.events.baroc import Declaration as Declaration
    from opentec.events.baroc import parse_baroc as parse_baroc
    from opentec.events.classes import ClassTable as ClassTable
    from opentec.events.classes import EventClass as EventClass
    from opentec.events.errors import EventError as EventError
    from opentec.events.errors import EventRejected as EventRejected
    from opentec.events.errors import EventSyntaxError as EventSyntaxError
    from opentec.events.errors import SourceError as SourceError
    from opentec.events.errors import SourceErrors as SourceErrors
    from opentec.events.loader import load_classes as load_classes
    from opentec.events.parser import EventParser as EventParser
    from opentec.events.slots import Enumeration as Enumeration
    from opentec.events.slots import Slot as Slot
    from opentec.events.slots import SlotType as SlotType
    from opentec.events.slots import Value as Value
    from opentec.events.text import decode_text as decode_text
    from opentec.events.text import format_event as format_event
    from opentec.events.text import format_multiline as format_multiline
    from opentec.events.text import format_value as format_value
    from opentec.events.text import parse_event as parse_event

_HOME: Final = {
    "baroc": ("Declaration", "parse_baroc"),
    "classes": ("ClassTable", "EventClass"),
    "errors": ("EventError", "EventRejected", "EventSyntaxError", "SourceError", "SourceErrors"),
    "loader": ("load_classes",),
    "parser": ("EventParser",),
    "slots": ("Enumeration", "Slot", "SlotType", "Value"),
    "text": ("decode_text", "format_event", "format_multiline", "format_value", "parse_event"),
}
_MODULE_OF: Final = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'opentec.events' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"opentec.events.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
