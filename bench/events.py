"""The events of the benchmark: about 290 bytes and ten slots, 300 hosts, some twelve in a hundred a duplicate."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

RULE_BASE: Final = Path(__file__).parent / "rulebase"
FAMILIES: Final = ("Disk", "Link", "Service", "Login")
RECOVERIES: Final = 0.15
DUPLICATES: Final = 0.12
_RECENT: Final = 500


def texts(count: int, seed: int) -> list[str]:
    """`count` event texts, the same for the same seed."""
    chance = random.Random(seed)
    recent: list[tuple[str, str, str]] = []
    made = []
    for number in range(count):
        family = chance.choice(FAMILIES)
        name, host, part = (
            f"Bench_{family}_Down{chance.randrange(10)}",
            f"host{chance.randrange(300)}.example.org",
            f"part{seed}_{number}",
        )
        if recent and chance.random() < DUPLICATES:
            name, host, part = chance.choice(recent)
        elif recent and chance.random() < RECOVERIES:
            problem, host, part = chance.choice(recent)
            name = f"{problem.partition('_Down')[0]}_Up{chance.randrange(8)}"
        else:
            recent.append((name, host, part))
            del recent[:-_RECENT]
        note = "it''s quoted" if chance.random() < 0.33 else "nothing to quote"
        made.append(
            f"{name};source=LOGFILE;sub_source=syslog;origin=10.0.{chance.randrange(256)}.{chance.randrange(256)};"
            f"hostname={host};adapter_host=gate{chance.randrange(4)};"
            f"severity={chance.choice(('WARNING', 'MINOR', 'CRITICAL', 'FATAL'))};"
            f"msg='the part {part} of this machine reports trouble that somebody should look into';"
            f"part={part};code={chance.randrange(100)};note='{note}';END"
        )
    return made
