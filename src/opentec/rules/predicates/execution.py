"""Programs and tasks. They leave through the outbox, run at most once and never through a shell (docs/tasks.md)."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from opentec.events.slots import INT32_MAX
from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.text import Format, arguments_of, limited
from opentec.rules.terms import RuleError, show

TASK_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
RESULT_CLASS: Final = "TEC_Task_Result"
_ARGUMENTS: Final = 256
_VARIABLE_LIMIT: Final = 16_384  # characters of one environment variable; the kernel takes 128 KiB


def _exec_program(run: Evaluation, event: Event, program: str, text: str, values: Any, watch: str) -> bool:
    is_watched = _watch(run, "exec_program", event, watch)
    if not program or "\0" in program:
        raise RuleError("exec_program needs the name of a program")
    argv = [program, *_words(text, values)]
    run.start_program(event, argv, environment_of(event), watch=is_watched)
    _started(run, event, " ".join(argv))
    return True


def _exec_task(run: Evaluation, event: Event, task: str, text: str, values: Any, watch: str) -> bool:
    is_watched = _watch(run, "exec_task", event, watch)
    if not TASK_NAME.fullmatch(task):
        raise RuleError(f"{task[:80]!r} is not the name of a task: letters, digits and _ . -, 64 at most")
    arguments = _words(text, values)
    run.start_program(event, arguments, environment_of(event), kind="task", name=task, watch=is_watched)
    _started(run, event, " ".join(["task", task, *arguments]))
    return True


def _watch(run: Evaluation, predicate: str, event: Event, watch: str) -> bool:
    if watch not in ("YES", "NO"):
        raise RuleError(f"the last argument of {predicate} is 'YES' or 'NO', not {watch!r}")
    if watch == "YES" and event.cls.is_a(RESULT_CLASS):
        run.note(f"{predicate} for a {RESULT_CLASS} is not watched: results of results would never end")
        return False
    return watch == "YES"


def _started(run: Evaluation, event: Event, what: str) -> None:
    run.assign(event, "num_actions", min(event.get("num_actions") + 1, INT32_MAX))
    run.note(f"started {what}"[:200])


def _words(text: str, values: Any) -> list[str]:
    """The format cut into words as a shell would, and only then filled: a value never becomes two words."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RuleError(f"the arguments {text[:80]!r} cannot be split into words: {error}") from None
    if len(words) > _ARGUMENTS:
        raise RuleError(f"a program takes at most {_ARGUMENTS} arguments")
    next_argument = arguments_of(values)
    filled = [Format(word).fill(next_argument) for word in words]
    limited("".join(filled))
    return [word.replace("\0", "") for word in filled]


def environment_of(event: Event) -> dict[str, str]:
    """What a program sees of an event: EVENT (its key), CLASS_NAME, and its slots by their names.

    A slot whose name is all capitals (PATH, LD_PRELOAD) is left out: such variables steer programs.
    """
    environment = {"CLASS_NAME": event.class_name, "EVENT": str(event)}
    for slot in event.defaults:
        if not slot.isupper():
            environment[slot] = show(event.get(slot)).replace("\0", "")[:_VARIABLE_LIMIT]
    return environment


_ARGUMENT_TEXT: Final = "format, [value, ...], 'YES'|'NO'"
_PROGRAM_EFFECT: Final = (
    "Runs a program once, without a shell, with the event's slots in its environment. "
    "'YES': its end becomes an event TEC_Task_Result."
)
_TASK_EFFECT: Final = (
    "Runs a task of the task library once, as exec_program does; the task must allow the role rule, or name no roles."
)
_HERE: Final = " The same, since all programs run on the event server."


def _program(name: str, effect: str) -> Predicate:
    return Predicate(
        name=name,
        modes="essvs",
        signature=f"{name}(_event, program, {_ARGUMENT_TEXT})",
        effect=effect,
        determinism="det",
        example=f"{name}(_event, 'scripts/mail.sh', '\"%s: %s\" tec_print', [_hostname, _msg], 'NO')",
        function=_exec_program,
    )


def _task(name: str, effect: str) -> Predicate:
    return Predicate(
        name=name,
        modes="essvs",
        signature=f"{name}(_event, task, {_ARGUMENT_TEXT})",
        effect=effect,
        determinism="det",
        example=f"{name}(_event, 'restart_service', '%s', [_hostname], 'YES')",
        function=_exec_task,
    )


PREDICATES: Final = (
    _program("exec_program", _PROGRAM_EFFECT),
    _program("exec_program_local", _PROGRAM_EFFECT + _HERE),
    _task("exec_task", _TASK_EFFECT),
    _task("exec_task_local", _TASK_EFFECT + _HERE),
)
