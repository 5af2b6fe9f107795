"""`tec replay --verify`: does the repository of a stopped server hold what its log says?"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from opentec.commands.cli import Failure, Status, say, say_json, visible
from opentec.commands.replay_run import recorded, run_one, work_folder
from opentec.commands.replay_scratch import Scratch

SHOWN: Final = 100  # differences that are shown to people


def verify_instance(directory: Path, json: bool) -> int:
    """Replay its log and say what differs; gives how many differences there are. Raises Failure, LogError, OSError."""
    from opentec.commands.link import is_stopped, standing_by
    from opentec.events.records import name_of
    from opentec.server.config import load_config
    from opentec.server.instance import Instance
    from opentec.testing.replay import NOTHING
    from opentec.testing.replay_log import SegmentLog, describe
    from opentec.testing.replay_verify import differences, position_of_repository

    instance = Instance(directory)
    if not is_stopped(instance) or standing_by(instance):
        raise Failure(f"the server of {directory} runs: stop it first, with `tec stop`", Status.USAGE)
    config = load_config(instance)
    stored = config.repository_path(instance)
    try:
        position = position_of_repository(stored, instance.uuid())
    except ValueError as error:
        raise Failure(str(error), Status.USAGE) from error
    recording = SegmentLog(instance.rx, position)
    if not recording.whole:
        raise Failure(f"{describe(recording)}, so what {stored} holds cannot be verified", Status.USAGE)
    with ExitStack() as stack:
        folder = work_folder(stack)
        replayed = folder / "verify.db"
        with Scratch(replayed) as scratch:
            tally = run_one(recording, scratch, recorded(instance, directory), None, NOTHING)
        # the outbox keeps what has ended for some days only
        whole = time.time() - tally.started / 1e6 < config.tasks.retain_days * 86_400
        count = 0
        for difference in differences(replayed, stored, outbox_whole=whole):
            count += 1
            if json:
                say_json(difference._asdict())
            elif count <= SHOWN:
                say(visible(str(difference)))
    if json:
        say_json({"same": not count, "differences": count, "records": tally.total, "position": name_of(position)})
    elif count:
        say(f"{count} differences up to {name_of(position)}" + (": --json has all" if count > SHOWN else ""))
    else:
        say(f"no difference: {tally.total} records up to {name_of(position)} give what the server stored")
    return count
