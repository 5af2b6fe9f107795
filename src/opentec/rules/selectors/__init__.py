"""Which rules can concern an event: durable-rules where it works, the indexed twin everywhere."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from opentec.rules.selectors.indexed import IndexedSelector

if TYPE_CHECKING:
    from opentec.rules.selectors.durable import DurableSelector

NAMES: Final = ("auto", "durable-rules", "indexed")
SELF_TEST_SECONDS: Final = 20
_SELF_TEST: Final = "from opentec.rules.selectors.durable import self_test; self_test()"


def make_selector(name: str = "auto") -> IndexedSelector | DurableSelector:
    """A selector by its name; "auto" is durable-rules where its self-test passes.

    When durable-rules is asked for and cannot be had, the indexed selector comes back and its `reason` says why.
    Raises ValueError for another name.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is not a selector; choose one of {', '.join(NAMES)}")
    if name == "indexed":
        return IndexedSelector()
    reason = durable_rules_problem()
    if reason:
        return IndexedSelector(reason)
    from opentec.rules.selectors.durable import DurableSelector

    return DurableSelector()


def durable_rules_problem() -> str:
    """Why durable-rules cannot be used here, or "". Tries it in a process of its own, which it may crash."""
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and our own text
            [sys.executable, "-P", "-c", _SELF_TEST],
            capture_output=True,
            text=True,
            timeout=SELF_TEST_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"the self-test of durable-rules did not end within {SELF_TEST_SECONDS} s"
    except OSError as error:
        return f"the self-test of durable-rules could not be started: {error}"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"the self-test of durable-rules died with signal {-done.returncode}"
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if "ModuleNotFoundError" in last and "durable_rules_engine" in last:
        return "durable-rules is not installed"
    return f"the self-test of durable-rules failed: {last[:200]}"
