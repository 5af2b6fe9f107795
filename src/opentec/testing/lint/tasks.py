"""L801: tasks that the library does not have. Destinations of events are checked when a rule base is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from opentec.rules.parser_tokens import did_you_mean
from opentec.testing.lint.diagnostics import Diagnostic, found
from opentec.testing.lint.model import Model, constant

FILE: Final = "tasks.toml"
_SIZE: Final = 1 << 20  # bytes of the file, as the server has it


def read_tasks(path: Path) -> frozenset[str]:
    """The names in a task library. Raises OSError, and ValueError where it cannot be read as one."""
    with path.open("rb") as file:
        data = file.read(_SIZE + 1)
    if len(data) > _SIZE:
        raise ValueError(f"the task library is larger than {_SIZE} bytes")
    tasks = tomllib.loads(data.decode("utf-8")).get("task", {})
    if not isinstance(tasks, dict):
        raise ValueError("each task is a table, [task.NAME]")
    return frozenset(tasks)


def check_tasks(model: Model, known: Collection[str]) -> Iterator[Diagnostic]:
    """Tasks that rules name and the library does not have."""
    for goal in model.calls("exec_task", "exec_task_local"):
        name = constant(goal.args[1]) if len(goal.args) == 5 else None
        if isinstance(name, str) and name not in known:
            hint = did_you_mean(name, known) or f"add [task.{name}] to {FILE}"
            yield found("L801", goal.args[1].place, f"the task library has no task {name!r}", hint)
