"""The processes' own logs: one file each, node-local by name, rotated."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path
from typing import Final

_SIZE: Final = 5 << 20
_KEEP: Final = 3


def log_to_file(path: Path) -> None:
    """Send this process's log to `path` only. Lines: UTC time, level, text. Falls back to standard error."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    handler: logging.Handler
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=_SIZE, backupCount=_KEEP)
    except OSError:
        handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
