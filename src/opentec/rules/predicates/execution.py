"""Programs. They leave through the outbox, run at most once and never through a shell."""

from __future__ import annotations

import shlex
from typing import Any, Final

from opentec.rules.evaluation import Evaluation
from opentec.rules.event import Event
from opentec.rules.predicates.registry import Predicate
from opentec.rules.predicates.text import Format, arguments_of, limited
from opentec.rules.terms import RuleError, show

_ARGUMENTS: Final = 256
_VARIABLE_LIMIT: Final = 16_384  # characters of one environment variable; the kernel takes 128 KiB


def _exec_program(run: Evaluation, event: Event, program: str, text: str, values: Any, watch: str) -> bool:
    if watch not in ("YES", "NO"):
        raise RuleError(f"the last argument of exec_program is 'YES' or 'NO', not {watch!r}")
    if not program or "\0" in program:
        raise RuleError("exec_program needs the name of a program")
    argv = [program, *_words(text, values)]
    run.start_program(event, argv, _environment(event))
    run.assign(event, "num_actions", event.get("num_actions") + 1)
    run.note(f"started {' '.join(argv)}"[:200])
    return True


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


def _environment(event: Event) -> dict[str, str]:
    environment = {"CLASS_NAME": event.class_name, "EVENT": str(event)}
    for slot in event.defaults:
        environment[slot] = show(event.get(slot)).replace("\0", "")[:_VARIABLE_LIMIT]
    return environment


PREDICATES: Final = (
    Predicate(
        name="exec_program",
        modes="essvs",
        signature="exec_program(_event, program, format, [value, ...], 'YES'|'NO')",
        effect="Runs a program once, without a shell, with the event's slots in its environment.",
        determinism="det",
        example="exec_program(_event, 'scripts/mail.sh', '\"%s: %s\" tec_print', [_hostname, _msg], 'NO')",
        function=_exec_program,
    ),
)
