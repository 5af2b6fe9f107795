"""The rule-base tester: specifications in YAML, run on the production engine with a clock that is given.

The names below load their module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentec.testing.collection import Collected as Collected
    from opentec.testing.collection import collect as collect
    from opentec.testing.collection import find_specs as find_specs
    from opentec.testing.results import Result as Result
    from opentec.testing.runner import Runner as Runner
    from opentec.testing.spec import Case as Case
    from opentec.testing.spec import Spec as Spec
    from opentec.testing.spec import read_spec as read_spec

_HOME: Final = {
    "Case": "spec",
    "Collected": "collection",
    "Result": "results",
    "Runner": "runner",
    "Spec": "spec",
    "collect": "collection",
    "find_specs": "collection",
    "read_spec": "spec",
}


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'opentec.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"opentec.testing.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
