"""An instance that an older version left behind, and its senders as they were when it was killed."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.client import Sender, frame
from tests.faults.harness import Cluster
from tests.faults.plans import PLAIN, PROBLEMS, REPEATED, WRONG, Plan
from tests.upgrade.promise import Promise, SenderPromise

FIXTURES = Path(__file__).parent / "fixtures"
PLANS: dict[str, Plan] = {"plain": PLAIN, "repeated": REPEATED, "problems": PROBLEMS, "wrong": WRONG}


class OldInstance(Cluster):
    """The fixture of a version, unpacked, to be run by the opentec of today."""

    def __init__(self, folder: Path, version: int = 1, **options: Any) -> None:
        self._fixture = FIXTURES / f"version-{version}.tar.xz"
        self.adapter = folder / "adapter"
        super().__init__(folder, **options)
        self.promise = msgspec.json.decode((folder / "promise.json").read_bytes(), type=Promise)

    def _make(self, rule_base: Path) -> None:
        with tarfile.open(self._fixture) as archive:
            archive.extractall(self.directory.parent, filter="data")
        self.configure()

    def senders(self) -> list[tuple[Sender, Plan]]:
        return [(self._sender(one), PLANS[one.name]) for one in self.promise.senders]

    def _sender(self, promised: SenderPromise) -> Sender:
        plan = PLANS[promised.name]

        def make(number: int) -> str:
            return plan.text(promised.name, number)

        sender = Sender(self.servers, make, promised.name, rate=60, uuid=bytes.fromhex(promised.uuid))
        sender.acked, sender.produced = promised.acked, promised.produced
        sender.rejected = dict.fromkeys(promised.rejected, "in the older version")
        sender.epochs = list(promised.epochs)
        for number in range(promised.acked + 1, promised.produced + 1):  # sent, and not acknowledged
            sender._waiting.append((number, frame(make(number), number)))
        return sender
