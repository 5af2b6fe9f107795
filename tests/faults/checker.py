"""Counts what was lost and what was doubled, without any code of the server.

It compares three things: what senders were promised (acknowledgements), the reception log (read by `logview`), and the
repository (read with sqlite3). Lost = acknowledged and without its disposition or effect; doubled = recorded, stored,
counted or done more than once, or without a record. Everything else that contradicts the promise is a problem.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.client import Sender
from tests.faults.logview import EVENT, HAS_OUTCOME, NOTICE, LogView, name_of
from tests.faults.memory import Memory
from tests.faults.plans import PLAIN, REPEATS, Fate, Plan, pair, subject

STORED, DROPPED, REJECTED, FAILED, FIRED = 1, 2, 3, 4, 7
_SHOWN = 20
_OWN = ("TEC_Start", "TEC_Failover")
_MANY = 20  # programs of which some must have come to their end, whatever died
_WANTED = {Fate.COUNTED: DROPPED, Fate.REJECTED: REJECTED}


@dataclass
class Verdict:
    """What the checker found. Sound = nothing lost, nothing doubled, no problem."""

    acked: int = 0
    recorded: int = 0  # events of these senders in the log
    stored: int = 0
    counted: int = 0  # repeat counts
    rejected: int = 0
    closed: int = 0
    programs: int = 0
    remembered: int = 0  # events that bear what rules remembered
    lines: int = 0  # of the tailed log that are stored
    waiting: int = 0  # records without an outcome
    epochs: int = 0  # that got as far as opening the port
    notices: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.doubled or self.problems) and self.epochs == self.notices

    def summary(self) -> dict[str, Any]:
        """Numbers for the last line of a run."""
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return numbers | {"lost": len(self.lost), "duplicated": len(self.doubled), "problems": len(self.problems)}

    def __str__(self) -> str:
        lines = [str(self.summary())]
        for name in ("lost", "doubled", "problems"):
            found = getattr(self, name)
            lines += [f"{name}: {item}" for item in found[:_SHOWN]]
            lines += [f"{name}: and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return "\n".join(lines)


@dataclass
class _Sent:
    """What log and repository say of the events of one sender."""

    sender: Sender
    plan: Plan
    positions: dict[int, list[int]] = field(default_factory=dict)  # sequence -> its records
    rows: Counter[int] = field(default_factory=Counter)  # number -> rows of the repository
    row_positions: dict[int, int] = field(default_factory=dict)


class Checker:
    """Compares an instance directory with what senders were promised."""

    def __init__(self, directory: Path, senders: Sequence[tuple[Sender, Plan]], *, lines: int = 0) -> None:
        """`lines` is how many lines were written to a tailed log, each of which must be one event."""
        self._lines = lines
        self._verdict = Verdict()
        self._directory = directory
        self._sent = {sender.uuid: _Sent(sender, plan) for sender, plan in senders}
        self._by_name = {sent.sender.name: sent for sent in self._sent.values()}
        self._wanted: list[int] = []  # positions that must have an outcome, in order
        self._silent: set[int] = set()  # positions that have one only when rules fired there
        self._outcomes: dict[int, tuple[int, int | None]] = {}  # of events of the senders
        self._epochs: set[int] = set()
        self._end = 0
        self._end_time = 0
        self._memory = Memory()

    def check(self, *, finished: bool = True) -> Verdict:
        """`finished`: the server was stopped and had processed everything."""
        self._read_log()
        connection = sqlite3.connect(f"file:{self._directory / 'rim' / 'tec.db'}?mode=ro", uri=True)
        try:
            self._read_outcomes(connection, finished)
            self._read_events(connection)
            self._read_notices(connection)
            self._read_programs(connection)
            self._read_repository(connection, finished)
            self._memory.read_timers(connection, self._end_time, finished)
        finally:
            connection.close()
        for sent in self._sent.values():
            self._judge(sent)
        self._judge_memory()
        return self._verdict

    # -- the log ----------------------------------------------------------------------------------------------------

    def _read_log(self) -> None:
        log, verdict = LogView(self._directory / "rx"), self._verdict
        first: dict[int, int] = {}
        for record in log.records():
            epoch = record.position >> 44
            if first.setdefault(epoch, record.kind) != NOTICE:
                verdict.problems.append(f"epoch {epoch} does not begin with its notice")
                first[epoch] = NOTICE
            if record.position < self._end:
                verdict.problems.append(f"{name_of(record.position)} comes behind {name_of(self._end)}")
            self._end, self._end_time = record.after, record.time
            if record.kind in HAS_OUTCOME:
                self._wanted.append(record.position)
            else:
                self._silent.add(record.position)
            if record.kind == EVENT and (sent := self._sent.get(record.sender)):
                if sent.positions and record.sequence < max(next(reversed(sent.positions)), 1):
                    verdict.problems.append(f"{sent.sender.name} {record.sequence} is recorded out of its order")
                sent.positions.setdefault(record.sequence, []).append(record.position)
                verdict.recorded += 1
        self._epochs = set(first)
        verdict.epochs = len(first)
        verdict.problems += log.problems

    # -- the repository ---------------------------------------------------------------------------------------------

    def _read_outcomes(self, connection: sqlite3.Connection, finished: bool) -> None:
        verdict = self._verdict
        ours = {at for sent in self._sent.values() for found in sent.positions.values() for at in found}
        wanted = iter(self._wanted)
        expected = next(wanted, None)
        for position, disposition, eid in connection.execute(
            "SELECT position, disposition, eid FROM outcome ORDER BY position"
        ):
            if disposition == FIRED and position in self._silent:
                continue
            while expected is not None and expected < position:
                verdict.waiting += 1
                if finished:
                    verdict.problems.append(f"{name_of(expected)} has no outcome")
                expected = next(wanted, None)
            if expected != position:
                verdict.doubled.append(f"{name_of(position)} has an outcome ({disposition}) and is not in the log")
                continue
            expected = next(wanted, None)
            if position in ours:
                self._outcomes[position] = (disposition, eid)
        rest = 0 if expected is None else 1 + sum(1 for _ in wanted)
        verdict.waiting += rest
        if rest and finished:
            verdict.problems.append(f"the last {rest} records have no outcome")

    def _read_events(self, connection: sqlite3.Connection) -> None:
        verdict = self._verdict
        problems: dict[str, tuple[str, int]] = {}
        closings: Counter[str] = Counter()
        lines: Counter[int] = Counter()
        repeats: dict[str, list[tuple[int, int]]] = {}
        query = 'SELECT eid, position, "class", status, severity, repeat_count, slots FROM event ORDER BY eid'
        for eid, position, class_name, status, severity, repeat_count, text in connection.execute(query):
            if not class_name.startswith("Load_"):
                continue
            slots = json.loads(text) if text else {}
            if class_name == "Load_Line":
                lines[slots["number"]] += 1
                continue
            if class_name == "Load_Closed":
                closings[slots["subject"]] += 1
                continue
            if self._memory.take(eid, class_name, severity, slots):
                continue
            sent = self._by_name.get(slots.get("sender", ""))
            if sent is None:
                verdict.problems.append(f"event {eid} is from nobody: {text}")
                continue
            number = slots["number"]
            verdict.stored += 1
            sent.rows[number] += 1
            sent.row_positions[number] = position
            if sent.positions.get(number) and position not in sent.positions[number]:
                verdict.doubled.append(f"{sent.sender.name} {number} is stored for {name_of(position)}, not in the log")
            if class_name == "Load_Problem":
                problems[slots["subject"]] = (status, number)
            if class_name == "Load_Repeat":
                repeats.setdefault(slots["subject"], []).append((eid, repeat_count or 0))
        self._judge_repeats(repeats)
        self._judge_closings(problems, closings)
        verdict.lines = len(lines)
        verdict.lost += [f"line {number} of the log" for number in range(1, self._lines + 1) if not lines[number]]
        verdict.doubled += [f"line {number}: {count} events" for number, count in lines.items() if count > 1]
        verdict.problems += [f"line {number} was never written" for number in lines if number > self._lines]

    def _judge_repeats(self, rows: dict[str, list[tuple[int, int]]]) -> None:
        """One row of a subject, and the others counted on it: rows + counts = records."""
        verdict = self._verdict
        dropped: Counter[str] = Counter()
        for sent in self._sent.values():
            for number, positions in sent.positions.items():
                if sent.plan.fate(number) is not Fate.COUNTED:
                    continue
                name = subject(sent.sender.name, number)
                for position in positions:
                    disposition, eid = self._outcomes.get(position, (0, None))
                    dropped[name] += disposition == DROPPED
                    if disposition == DROPPED and eid not in {row[0] for row in rows.get(name, [])}:
                        verdict.problems.append(f"{name_of(position)} is counted on event {eid}, which is not {name}")
        for name, found in rows.items():
            counted = sum(count for _, count in found)
            verdict.counted += counted
            if len(found) > 1:
                verdict.doubled.append(f"{name} is stored {len(found)} times")
            if counted > min(dropped[name], REPEATS - 1):
                verdict.doubled.append(f"{name} counts {counted} repeats, {dropped[name]} came")
            if counted < dropped[name]:
                verdict.lost.append(f"{name} counts {counted} repeats, {dropped[name]} came")

    def _judge_closings(self, problems: dict[str, tuple[str, int]], closings: Counter[str]) -> None:
        """A recovery that has its outcome closed its problem and derived one event."""
        verdict = self._verdict
        recovered = set()
        for sent in self._sent.values():
            for number, positions in sent.positions.items():
                if sent.plan.fate(number) is Fate.RECOVERY and any(self._outcomes.get(at) for at in positions):
                    recovered.add(pair(sent.sender.name, number))
        for name, (status, _) in problems.items():
            verdict.closed += status == "CLOSED"
            if status == "CLOSED" and name not in recovered:
                verdict.problems.append(f"{name} is closed and has no recovery")
            if status != "CLOSED" and name in recovered:
                verdict.lost.append(f"the closing of {name}: it is {status}")
        for name in recovered:
            if closings[name] < 1:
                verdict.lost.append(f"the event derived from the recovery of {name}")
            if closings[name] > 1:
                verdict.doubled.append(f"the event derived from the recovery of {name}: {closings[name]} times")
        verdict.problems += [f"{name} was closed without a recovery" for name in closings if name not in recovered]

    def _judge_memory(self) -> None:
        stored = [
            (sent.sender.name, number)
            for sent in self._sent.values()
            for number, positions in sent.positions.items()
            if sent.plan.fate(number) is Fate.REMEMBERED and any(self._outcomes.get(at) for at in positions)
        ]
        lost, doubled = self._memory.judge(stored)
        self._verdict.remembered = len(stored)
        self._verdict.lost += lost
        self._verdict.doubled += doubled
        self._verdict.problems += self._memory.problems

    def _read_notices(self, connection: sqlite3.Connection) -> None:
        verdict = self._verdict
        found: Counter[int] = Counter()
        for position, ident, class_name in connection.execute(
            'SELECT position, ident, "class" FROM event WHERE "class" IN (?, ?)', _OWN
        ):
            epoch = position >> 44
            found[epoch] += 1
            if class_name == "TEC_Failover" and ident != f"failover:{epoch}":
                verdict.problems.append(f"the failover notice of epoch {epoch} has the identity {ident}")
        verdict.notices = sum(found.values())
        for epoch in sorted(self._epochs | set(found)):
            if found[epoch] != 1:
                verdict.problems.append(f"epoch {epoch} posted {found[epoch]} notices")
        for sent in self._sent.values():
            unknown = set(sent.sender.epochs) - self._epochs
            if unknown:
                verdict.problems.append(f"{sent.sender.name} was greeted by epochs without a notice: {sorted(unknown)}")

    def _read_programs(self, connection: sqlite3.Connection) -> None:
        """Programs run at most once: one row of the outbox for each event, one new file at most, and one if done."""
        verdict = self._verdict
        statuses: dict[int, list[str]] = defaultdict(list)
        for position, status in connection.execute("SELECT position, status FROM outbox"):
            statuses[position].append(status)
        for sent in self._sent.values():
            numbers = [number for number in sent.positions if sent.plan.fate(number) is Fate.PROGRAM]
            if not numbers:
                continue
            folder = Path(sent.plan.text("", 1).partition("template='")[2].partition("'")[0]).parent
            files = Counter(path.name.partition(".")[0] for path in folder.iterdir())
            for number in numbers:
                name = f"{sent.sender.name}-{number}"
                found = [status for at in sent.positions[number] for status in statuses[at]]
                rows = len(found)
                verdict.programs += files[name]
                if files[name] < found.count("done"):
                    verdict.lost.append(f"the program of {name} is done, and did not run")
                if files[name] > 1 or rows > 1:
                    verdict.doubled.append(f"the program of {name} ran {files[name]} times, {rows} rows in the outbox")
                if rows < 1 and any(self._outcomes.get(at) for at in sent.positions[number]):
                    verdict.lost.append(f"the program of {name} is not in the outbox")
            if len(numbers) >= _MANY and not any("done" in statuses[at] for n in numbers for at in sent.positions[n]):
                verdict.problems.append(f"none of {len(numbers)} programs of {sent.sender.name} is done")

    def _read_repository(self, connection: sqlite3.Connection, finished: bool) -> None:
        verdict = self._verdict
        ((epoch, position),) = connection.execute("SELECT epoch, position FROM repository").fetchall()
        if position > self._end:
            verdict.problems.append(
                f"the repository stands at {name_of(position)}, the log ends at {name_of(self._end)}"
            )
        if finished and position < self._end:
            verdict.problems.append(f"the repository stopped at {name_of(position)} of {name_of(self._end)}")
        if self._epochs and epoch < max(self._epochs) and finished:
            verdict.problems.append(f"the repository belongs to epoch {epoch}, the log to {max(self._epochs)}")
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        if found != ["ok"]:
            verdict.problems += found

    # -- the promise ------------------------------------------------------------------------------------------------

    def _judge(self, sent: _Sent) -> None:
        """Every acknowledged event: one record, one outcome, the right one, and one row if it was stored."""
        sender, verdict = sent.sender, self._verdict
        verdict.acked += sender.acked
        verdict.problems += sender.violations
        for number in range(1, sender.acked + 1):
            name = f"{sender.name} {number}"
            positions = sent.positions.get(number, [])
            if not positions:
                verdict.lost.append(f"{name} was acknowledged and is not in the log")
                if sent.rows[number]:
                    verdict.doubled.append(
                        f"{name} is stored for {name_of(sent.row_positions[number])}, not in the log"
                    )
                continue
            if len(positions) > 1:
                verdict.doubled.append(f"{name} is in the log at {', '.join(map(name_of, positions))}")
            self._judge_outcome(sent, number, name, positions[0])
        beyond = [number for number in sent.positions if number > sender.produced]
        verdict.problems += [f"{sender.name} {number} is in the log and was never sent" for number in beyond]

    def _judge_outcome(self, sent: _Sent, number: int, name: str, position: int) -> None:
        verdict = self._verdict
        fate = sent.plan.fate(number)
        wanted = _WANTED.get(fate, STORED)
        disposition, _ = self._outcomes.get(position, (0, None))
        rows = sent.rows[number]
        if disposition == 0:
            verdict.lost.append(f"{name} was acknowledged and has no disposition")
        elif disposition != wanted:
            verdict.problems.append(f"{name} has disposition {disposition}, {wanted} expected ({fate.value})")
        verdict.rejected += disposition == REJECTED
        if number in sent.sender.rejected and disposition != REJECTED:
            verdict.problems.append(f"{name} was reported as rejected and is not")
        if disposition == STORED and rows == 0:
            verdict.lost.append(f"{name} has the disposition STORED and no row")
        if rows > (disposition == STORED):
            verdict.doubled.append(f"{name} has {rows} rows, disposition {disposition}")


def check(directory: Path, senders: Sequence[Sender], *, finished: bool = True, plan: Plan = PLAIN) -> Verdict:
    """As Checker.check, for senders that all follow one plan."""
    return Checker(directory, [(sender, plan) for sender in senders]).check(finished=finished)
