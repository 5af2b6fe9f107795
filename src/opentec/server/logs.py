"""The processes' own logs: one file each, node-local by name, rotated."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path
from typing import Final

from opentec.server.instance import CONFIG_NAME

_SIZE: Final = 5 << 20
_KEEP: Final = 3


def close_logs() -> None:
    """Let go of the log files: a forked child does so before it closes descriptors, whose numbers are used again."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()


def log_to_file(path: Path) -> None:
    """Send this process's log to `path`, INSTANCE/log/NODE/NAME, only. Lines: UTC time, level, text.

    Falls back to standard error, also where the instance is gone: a folder that is made in its place would be hidden
    under the mount when that comes back.
    """
    close_logs()
    root = logging.getLogger()
    handler: logging.Handler
    try:
        if (path.parents[2] / CONFIG_NAME).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_SIZE, backupCount=_KEEP)
    except OSError:
        handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
