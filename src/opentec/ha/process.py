"""Which process is meant: a pid alone may be another's by now, so its start time goes with it (proc(5), field 22)."""

from __future__ import annotations

from pathlib import Path


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none, or only its zombie is left."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # the second field is the name in brackets and may hold blanks and brackets of its own
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """This boot of this machine; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """In which numbering of processes our pids are valid; "" where the kernel does not say."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
