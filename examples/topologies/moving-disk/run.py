"""Two nodes, and a disk that is mounted on one of them at a time: a cold start on the other when the first is lost."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "redbook"))

import interpreter  # noqa: F401
from stage import DemoFailed, Server, Stage, perform, wait, wait_acknowledged

from tests.faults.client import Load

SIZE = 96 << 20  # bytes of the disk


class Disk(typing.Protocol):
    """A disk that one node has at a time. `place` is where a node that has it sees it."""

    kind: str
    place: Path

    def attach(self) -> None: ...
    def detach(self) -> None: ...


class Image:
    """A real file system in an image file. The kernel refuses to unmount it as long as a process uses it."""

    kind = "an ext4 file system in an image file, mounted through a loop device"

    def __init__(self, folder: Path) -> None:
        self.image, self.place = folder / "disk.img", folder / "shared"
        self.place.mkdir()
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        call("mkfs.ext4", "-q", "-F", str(self.image))

    def attach(self) -> None:
        call("mount", "-o", "loop", str(self.image), str(self.place))

    def detach(self) -> None:
        call("umount", str(self.place))


class Folder:
    """A folder that is renamed: what can be done without being root."""

    kind = "a folder that is renamed; root would mount a real file system"

    def __init__(self, folder: Path) -> None:
        self.away, self.place = folder / "unmounted", folder / "shared"
        self.away.mkdir()

    def attach(self) -> None:
        self.away.rename(self.place)

    def detach(self) -> None:
        self.place.rename(self.away)


def main() -> int:
    return perform("moving disk", play)


def play(stage: Stage) -> int:
    disk = attached(stage)
    stage.say(f"the shared disk is {disk.kind}")
    server = stage.server(directory=disk.place / "tec")
    stage.say("black has it and serves; brown runs nothing: a standby would need the disk")
    stage.run(server, "tec", "start", node="black")
    sender = server.sender()
    with Load([sender]) as load:
        wait_acknowledged(sender)
        begun = time.monotonic()
        number = server.signal("black", signal.SIGKILL)
        stage.say(f"black is fenced: its {number} processes are gone, and it cannot write any more")
        crash = move(stage, server, disk, "brown")
        wait_acknowledged(sender)
        crash_gap = sender.longest_gap(begun, time.monotonic())
        stage.say("brown serves")

        begun = time.monotonic()
        stage.say("planned move: `tec stop` on brown, the disk, `tec start` on black")
        stage.run(server, "tec", "stop", node="brown")
        stage.check("no process is left, so the disk can be unmounted", not server.of("brown"))
        planned = move(stage, server, disk, "black")
        wait_acknowledged(sender)
        planned_gap = sender.longest_gap(begun, time.monotonic())
        if not load.finish():
            stage.check(f"the sender is done: {sender.trouble}", False)
    server.wait_idle()
    lost, doubled = server.sums(sender.acked)
    stage.gap("crash, the disk, cold start", crash_gap, 5.0)
    stage.gap("planned stop, the disk, cold start", planned_gap, 5.0)
    stage.show(
        f"`tec start` returned after {crash:.2f} s and {planned:.2f} s. With a cluster manager add what it needs to"
    )
    stage.show("notice, to fence, and to check and mount the file system")
    stage.check(f"{sender.acked} test events were acknowledged: {lost} lost, {doubled} doubled", not lost + doubled)
    server.stop()
    return stage.verdict("the server followed its disk twice; nothing was lost, nothing doubled")


def attached(stage: Stage) -> Disk:
    """The disk, attached; and detached at the end."""
    disk: Disk
    if os.geteuid() == 0 and shutil.which("mkfs.ext4") and shutil.which("mount"):
        disk = Image(stage.folder)
        try:
            disk.attach()
        except DemoFailed as error:  # a container without loop devices
            stage.say(f"no loop device here: {error}")
            disk.place.rmdir()
            disk = Folder(stage.folder)
            disk.attach()
    else:
        disk = Folder(stage.folder)
        disk.attach()

    def detach() -> None:
        if disk.place.is_mount():
            with contextlib.suppress(DemoFailed):
                disk.detach()
            if disk.place.is_mount():
                raise DemoFailed(f"{disk.place} is still mounted; `umount {disk.place}` when nothing uses it any more")

    stage.at_the_end(detach)
    return disk


def move(stage: Stage, server: Server, disk: Disk, node: str) -> float:
    """The disk goes to a node, and the server is started there; gives how long `tec start` took, in seconds."""
    # a process that was killed may take a moment to let go of its files
    wait("the disk can be unmounted", lambda: detached(disk))
    stage.check("the disk is unmounted: no process has a file of it open", not server.directory.exists())
    disk.attach()
    begun = time.monotonic()
    stage.run(server, "tec", "start", node=node)
    return time.monotonic() - begun


def detached(disk: Disk) -> bool:
    try:
        disk.detach()
    except DemoFailed:
        return False
    return True


def call(*command: str) -> None:
    """Run a command of the system. Raises DemoFailed with what it says."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise DemoFailed(f"`{' '.join(command)}` failed with exit status {done.returncode}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
