"""What is posted first in a new epoch: TEC_Start, or TEC_Failover with from, to, reason and gap (spine: events)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from opentec.ha import marks
from opentec.ha.watch import Decision


def first_notice(
    directory: Path, decision: Decision, *, server: str, node: str, epoch: int, last_logged: int, rule_base: str
) -> dict[str, Any]:
    """The notice's slots, with its class as `class`.

    `directory` is that of the lease, `last_logged` the newest epoch in the log, 0 = none.
    """
    common = {"epoch": epoch, "source": "TEC", "hostname": server}
    before = decision.holder
    if before is None or not last_logged or marks.ended_cleanly(directory, before.number):
        return {"class": "TEC_Start", "msg": f"server {server} starts on node {node}", "node": node, **common}
    reason = decision.reason
    if marks.switch_requested(directory, before.number) is not None:
        reason = "planned switch"
    elif gave_way := marks.gave_way(directory, before.number):
        reason = f"gave way: {gave_way}"
    gap = 0.0
    with contextlib.suppress(OSError):
        gap = max(0.0, time.time() - before.path.stat().st_mtime)  # the last beat is its last write
    return {
        "class": "TEC_Failover",
        "msg": f"{before.node or 'unknown'} -> {node}: {reason}",
        "from_node": before.node,
        "to_node": node,
        "reason": reason,
        "gap": round(gap, 3),
        "skipped_epochs": max(0, epoch - last_logged - 1),
        "rule_base": rule_base,
        **common,
    }
