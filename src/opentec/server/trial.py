"""Does a rule base run on this node? Tried before the log names it: no rule process could ever get past that record.

`python -m opentec.server.trial RULE_BASES HASH` says on the standard output what is wrong, nothing when all is well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentec.events.errors import SourceErrors
from opentec.rules.rulebase_sources import RuleBaseError

if TYPE_CHECKING:
    from opentec.rules.rulebase import RuleBase

TIME_LIMIT: Final = 30.0  # seconds
_SHOWN: Final = 2000  # characters of what went wrong


def problem_of(base: RuleBase, rule_bases: Path, *, time_limit: float = TIME_LIMIT) -> str:
    """Why the rule process of this node could not run the snapshot `base` of `rule_bases`; "" when it can.

    Code of the rule base is run in a process of its own, for `time_limit` seconds at most: it may pass when it is
    checked and fail when it is loaded (another package, another moment), and the caller becomes a master that forks.
    """
    if not base.user_predicates:
        return _run(base)
    command = [sys.executable, "-P", "-m", "opentec.server.trial", str(rule_bases), base.content_hash]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own module
            command, capture_output=True, timeout=time_limit, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"its predicates.py or a package was still being loaded after {time_limit:g} s"
    except OSError as error:
        return f"it cannot be tried: {sys.executable} does not start: {error.strerror}"
    said = done.stdout.decode("utf-8", "replace").strip()[:_SHOWN]
    if done.returncode and not said:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:_SHOWN]
        return f"it ends the process that loads it (status {done.returncode}): {last or 'without a word'}"
    return said


def _run(base: RuleBase) -> str:
    from opentec.rules.running import Running
    from opentec.rules.selectors.indexed import IndexedSelector

    try:
        Running(base, IndexedSelector())
    except (RuleBaseError, SourceErrors) as error:
        return str(error)
    return ""


def main(rule_bases: str, content_hash: str) -> None:
    """Say on the standard output what is wrong; what the rule base's code prints goes to the standard error."""
    from opentec.rules.rulebase import load_compiled

    out = os.dup(1)
    os.dup2(2, 1)
    try:
        said = _run(load_compiled(Path(rule_bases), content_hash))
    except (RuleBaseError, OSError) as error:
        said = str(error)
    os.write(out, said.encode("utf-8", "replace"))
    sys.stderr.flush()
    os._exit(0)  # user code may have left something behind that would wait


if __name__ == "__main__":
    main(*sys.argv[1:])
