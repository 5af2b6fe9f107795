"""Ends an example that this Python cannot run, and says what can. To be imported first.

Written for any Python 3, as the run.py beside it: an older one must come as far as this message.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = (3, 11)
MODULES = ("opentec", "msgspec")  # the project, and one of what `make setup` installs with it
ROOT = Path(__file__).resolve().parents[2]


def trouble(version, is_there):
    """What this Python lacks: "" when it has everything. `is_there`: module -> is it installed?"""
    if tuple(version) < NEEDED:
        return "is Python {}.{}, and {}.{} is needed".format(*version[:2], *NEEDED)
    if not all(is_there(name) for name in MODULES):
        return "has no opentec"
    return ""


def advice(script, what):
    """One sentence: the program, the Python and what is wrong with it, what to run."""
    path = Path(script).resolve()
    shown = path.relative_to(ROOT) if ROOT in path.parents else path
    return f"{shown}: {sys.executable} {what}; run `make setup` in {ROOT}, then there `.venv/bin/python {shown}`"


found = trouble(sys.version_info, find_spec)
if found:
    print(advice(sys.argv[0], found), file=sys.stderr)
    sys.exit(2)
