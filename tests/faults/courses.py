"""Courses of events between two nodes that a test forces step by step, with pauses between two steps of a process."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

from tests.faults.checker import Verdict, check
from tests.faults.client import Address
from tests.faults.hand import Hand
from tests.faults.harness import Cluster, Late, Process, wait_for

BEFORE = 5  # events that are stored before anything happens
LATE = BEFORE + 1  # the event that is under way when the other node takes over


class Pause:
    """A place where a process stops once this is armed, until it is released."""

    def __init__(self, folder: Path, place: str, node: str, *, armed: bool = False) -> None:
        self._file = folder / f"{place}-{node}"
        self.word = f"pause:{place}:{self._file}"
        if armed:
            self.arm()

    def _beside(self, suffix: str) -> Path:
        return self._file.with_name(self._file.name + suffix)

    def arm(self) -> None:
        self._beside(".armed").touch()

    def wait_reached(self) -> None:
        wait_for(f"{self._file.name} is reached", self._beside(".reached").exists)

    def release(self) -> None:
        self._file.touch()


class Course:
    """Black serves, brown stands by, and a hand has had BEFORE events stored by black. A context manager."""

    def __init__(self, folder: Path, *, black: str = "", brown: str | None = None, disk_limit: float | str = 0) -> None:
        nodes = ("black",) if brown is None else ("black", "brown")
        # a paused process must not be taken for a hung one
        self.cluster = Cluster(folder, nodes, hang_after=120, disk_limit=disk_limit)
        self.hand = Hand()
        self.black: Address = self.cluster.servers[0]
        self.brown: Address = self.cluster.servers[-1]
        self._hooks = {"black": black, "brown": brown or ""}

    def __enter__(self) -> Course:
        try:
            for node in self.cluster.ports:
                self.cluster.start(node, self._hooks[node])
            self.hand.greet(self.black)
            self.hand.send(1, BEFORE)
            assert self.hand.acknowledged(BEFORE)
            self.wait_stored(BEFORE)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.hand.close()
        self.cluster.__exit__(kind, error, trace)

    def ask(self, query: str) -> int:
        """One number from the repository."""
        connection = sqlite3.connect(f"file:{self.cluster.repository}?mode=ro", uri=True, timeout=10)
        try:
            return int(connection.execute(query).fetchone()[0])
        finally:
            connection.close()

    def stored(self) -> int:
        """Events of hands that the repository has, doubles included."""
        return self.ask("SELECT count(*) FROM event WHERE \"class\" = 'Load_Event'")

    def wait_stored(self, count: int) -> None:
        try:
            wait_for(f"{count} events are stored", lambda: self.stored() >= count)
        except Late as late:
            raise Late(f"{late}{self.cluster.logs()}") from None

    def wait_epoch(self, epoch: int) -> None:
        """Until `epoch` owns the repository."""
        wait_for(f"epoch {epoch} owns the repository", lambda: self.ask("SELECT epoch FROM repository") >= epoch)

    def freeze(self) -> Process:
        """Stop black's master: its lease is no longer renewed, while the other four go on."""
        master = self.cluster.process("black", "tec_master")
        master.signal(signal.SIGSTOP)
        return master

    def take_over(self) -> Process:
        """Freeze black's master until brown has its port open; gives the frozen process."""
        master = self.freeze()
        wait_for("brown takes over", lambda: (s := self.cluster.status("brown")) and s["state"] == "up")
        return master

    def end(self, last: int = LATE) -> Verdict:
        """For a server that must be sound: all is stored, both nodes stop, and the checker looks."""
        self.cluster.wait_up(patience=60)
        self.wait_stored(last)
        self.cluster.stop()
        return check(self.cluster.directory, [self.hand.promise])

    def abort(self) -> Verdict:
        """For a server whose safety rules are off: end it as it is, and the checker looks at what there is."""
        self.cluster.kill_all()
        return check(self.cluster.directory, [self.hand.promise], finished=False)
