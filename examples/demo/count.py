"""Counting what became of every line, after the fact and from the files alone.

The repository is read with sqlite3, the reception log with the reader of the fault tests: neither shares code with the
server. One thing is shared: which lines make an event, and of which class, is found by running the adapter's formats
over the log again. That a line became one event is then a matter of offsets: an event carries the offset at which its
line ends, so each offset must stand in the log exactly once.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from opentec.adapters.conf import read_conf
from opentec.adapters.filters import passes
from opentec.adapters.logfile.fmt import Context, read_formats
from opentec.adapters.logfile.matcher import Matcher
from opentec.adapters.logfile.text import line_text
from opentec.eif.buffer import DiskBuffer
from tests.faults.logview import EVENT, HAS_OUTCOME, LogView, Record, name_of
from tests.faults.msgpack import decode

TALE: Final = "tale.json"
STORED, DROPPED, REJECTED, FAILED = range(1, 5)
FIRED: Final = 7
RECOVERING: Final = ("Systemd_Unit_Failed", "Kernel_Link_Down", "NFS_No_Response")


@dataclass
class Fault:
    """One fault: what was done to which node, and how long no event was acknowledged because of it, in seconds."""

    what: str
    node: str
    successor: str
    gap: float


@dataclass
class Tale:
    """What only the demo that ran can say. `problems` is how many problems recover in the log, None if not known."""

    written: int
    problems: int | None
    probe: str  # sender id of the probe
    probe_acked: int
    faults: list[Fault] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        (folder / TALE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Tale:
        data = json.loads((folder / TALE).read_text())
        return cls(**{**data, "faults": [Fault(**fault) for fault in data["faults"]]})


@dataclass
class Sums:
    """What was counted. `lost`, `doubled` and `problems` name each case; all three must be empty."""

    written: int = 0
    lines: int = 0
    discarded: int = 0
    unmatched: int = 0
    filtered: int = 0
    events: int = 0
    acknowledged: int = 0
    recorded: int = 0
    rejected: int = 0
    stored: int = 0
    counted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # rule -> events, without those counted as duplicates
    derived: int = 0  # events that rules made of events
    closed: int = 0
    recovered: int = 0  # of those closed, the problems that the made-up log lets recover
    epochs: list[int] = field(default_factory=list)  # that opened their port
    notices: list[tuple[int, str, str]] = field(default_factory=list)  # epoch, class, message
    probe_recorded: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.problems)


def count(folder: Path, tale: Tale) -> Sums:
    """Count a finished demo: its server and its adapter were stopped."""
    return _Count(folder, tale).run()


class _Count:
    def __init__(self, folder: Path, tale: Tale) -> None:
        self.folder, self.tale = folder, tale
        self.sums = Sums(written=tale.written)
        self.expected: dict[int, str] = {}  # end offset of a line -> class of its event
        self.tailed: dict[int, int] = {}  # position -> end offset
        self.wanted: set[int] = set()  # positions that must have an outcome
        self.silent: set[int] = set()  # positions that have one only when rules fired there

    def run(self) -> Sums:
        sums = self.sums
        self._read_lines()
        self._read_adapter()
        self._read_log()
        connection = sqlite3.connect(f"file:{self.folder / 'tec/rim/tec.db'}?mode=ro", uri=True)
        try:
            self._read_outcomes(connection)
            self._read_effects(connection)
            self._read_notices(connection)
        finally:
            connection.close()
        self._balance()
        return sums

    # -- what should be -----------------------------------------------------------------------------------------------

    def _read_lines(self) -> None:
        """The formats over the log again, as `tec adapter try` runs them."""
        conf = read_conf(self.folder / "tecad_logfile.conf")
        assert conf.format_file is not None
        matcher = Matcher(read_formats(conf.format_file))
        context = Context(conf.label_host, conf.adapter_hostname, conf.log_sources[0])
        before: list[str] = []
        end = made = 0
        verdicts: Counter[str] = Counter()
        with (self.folder / "syslog").open("rb") as log:
            for raw in log:
                end, made = end + len(raw), made + 1
                line, _ = line_text(raw.removesuffix(b"\n"), conf.event_max_size)
                found = matcher.find(line, before)
                if matcher.window > 1:
                    is_joined = found is not None and found[0].pattern.lines > 1
                    before = [] if is_joined else [*before, line][1 - matcher.window :]
                if found is None or found[0].discards:
                    verdicts["unmatched" if found is None else "discarded"] += 1
                elif passes(
                    conf.filters, conf.filter_mode, found[0].class_name, found[0].slots_of(found[1], line, context)
                ):
                    self.expected[end] = found[0].class_name
                else:
                    verdicts["filtered"] += 1
        self._compare("lines in the log", made, "lines written", self.tale.written)
        self._wanted_of_adapter = {"lines": made, "events": len(self.expected), **verdicts}

    def _compare(self, name: str, value: int, other_name: str, other: int) -> None:
        if value != other:
            self.sums.problems.append(f"{name}: {value}, {other_name}: {other}")

    # -- what the adapter says ----------------------------------------------------------------------------------------

    def _read_adapter(self) -> None:
        sums, buffer = self.sums, self.folder / "adapter/buffer"
        counters = json.loads((buffer / "positions").read_bytes().split(b"\n", 1)[1])["counters"]
        for name in ("lines", "discarded", "unmatched", "filtered", "events"):
            setattr(sums, name, counters[name])
            wanted = self._wanted_of_adapter.get(name, 0)
            self._compare(f"{name} that the adapter counted", counters[name], "of the log by its formats", wanted)
        if counters["lost_lines"] or counters["lost_bytes"]:
            sums.lost.append(f"{counters['lost_lines']} lines, {counters['lost_bytes']} bytes, says the adapter")
        with DiskBuffer(buffer) as disk:
            sums.acknowledged, pending = disk.acked, disk.pending
        if pending:
            sums.problems.append(f"{pending} events still wait in the adapter's buffer")

    # -- what the reception log says ----------------------------------------------------------------------------------

    def _read_log(self) -> None:
        sums, log = self.sums, LogView(self.folder / "tec/rx")
        offsets: dict[int, int] = {}
        generations, probes = set(), Counter[int]()
        for record in log.records():
            if record.kind in HAS_OUTCOME:
                self.wanted.add(record.position)
            else:
                self.silent.add(record.position)
            if record.kind == EVENT and record.file:
                generations.add(record.file)
                self._match(record, offsets)
            elif record.kind == EVENT and record.sender.hex() == self.tale.probe:
                probes[record.sequence] += 1
        sums.epochs = sorted({segment.epoch for segment in log.segments})
        sums.recorded, sums.probe_recorded = len(self.tailed), probes.total()
        sums.problems += log.problems
        if len(generations) > 1:
            sums.problems.append(f"the log was read as {len(generations)} files, it is one")
        for end, class_name in self.expected.items():
            if end not in offsets:
                sums.lost.append(f"the line that ends at byte {end} ({class_name}) is not in the reception log")
        for number in range(1, self.tale.probe_acked + 1):
            if not probes[number]:
                sums.lost.append(f"heartbeat {number} was acknowledged and is not in the reception log")
        sums.doubled += [
            f"heartbeat {number} is recorded {times} times" for number, times in probes.items() if times > 1
        ]

    def _match(self, record: Record, offsets: dict[int, int]) -> None:
        sums, end, where = self.sums, record.end_offset, name_of(record.position)
        wanted = self.expected.get(end)
        if end in offsets:
            sums.doubled.append(f"the line that ends at byte {end}: {name_of(offsets[end])} and {where}")
        elif wanted is None:
            sums.problems.append(f"{where} ends at byte {end}, where no line makes an event")
        elif not record.verdict and (found := decode(record.payload)[0]) != wanted:
            sums.problems.append(f"{where} is a {found}, its line a {wanted}")
        offsets.setdefault(end, record.position)
        self.tailed[record.position] = end

    # -- what the repository says -------------------------------------------------------------------------------------

    def _read_outcomes(self, connection: sqlite3.Connection) -> None:
        sums = self.sums
        rows = Counter(ident for (ident,) in connection.execute("SELECT ident FROM event"))
        self.repeats: Counter[int] = Counter()  # event -> what should be counted on it
        sums.doubled += [f"event {ident} is stored {times} times" for ident, times in rows.items() if times > 1]
        left = set(self.wanted)
        for position, disposition, eid, reason in connection.execute(
            "SELECT position, disposition, eid, reason FROM outcome"
        ):
            name = name_of(position)
            if disposition == FIRED and position in self.silent:
                continue
            if position not in left:
                sums.problems.append(f"{name} has an outcome and is not in the reception log")
                continue
            left.remove(position)
            if disposition == STORED and not rows[name] and position in self.tailed:
                sums.lost.append(f"{name} is stored, and there is no such event")
            if rows[name] and disposition != STORED:
                sums.doubled.append(f"{name} is stored, and its disposition is {disposition}")
            if disposition == DROPPED and eid is not None:
                self.repeats[eid] += 1
            if position in self.tailed:
                self._add(name, disposition, eid, reason)
        sums.lost += [f"{name_of(position)} has no disposition" for position in sorted(left)]

    def _add(self, name: str, disposition: int, eid: int | None, reason: str | None) -> None:
        sums = self.sums
        match disposition:
            case _ if disposition == STORED:
                sums.stored += 1
            case _ if disposition == REJECTED:
                sums.rejected += 1
            case _ if disposition == DROPPED and eid is not None:
                sums.counted += 1
            case _ if disposition == DROPPED and reason and reason.startswith("dropped by rule "):
                sums.dropped[reason.removeprefix("dropped by rule ")] += 1
            case _:
                sums.problems.append(f"{name} has disposition {disposition}: {reason}")

    def _read_effects(self, connection: sqlite3.Connection) -> None:
        """Counts on events equal what was dropped for them; problems are closed."""
        sums = self.sums
        for eid, position, ident, class_name, status, repeats in connection.execute(
            'SELECT eid, position, ident, "class", status, repeat_count FROM event'
        ):
            wanted, found = self.repeats.pop(eid, 0), repeats or 0
            if found != wanted:
                (sums.lost if found < wanted else sums.doubled).append(
                    f"event {eid} ({class_name}) counts {found} duplicates, {wanted} were dropped for it"
                )
            if position not in self.tailed:
                continue
            sums.derived += ident != name_of(position)
            if status == "CLOSED":
                sums.closed += 1
                sums.recovered += class_name in RECOVERING
        sums.lost += [
            f"event {eid} counts {number} duplicates, and is not stored" for eid, number in self.repeats.items()
        ]
        if self.tale.problems is not None:
            self._compare("recovered problems that were closed", sums.recovered, "in the log", self.tale.problems)

    def _read_notices(self, connection: sqlite3.Connection) -> None:
        sums = self.sums
        posted: Counter[int] = Counter()
        for position, class_name, message in connection.execute(
            'SELECT position, "class", msg FROM event WHERE "class" IN (?, ?) ORDER BY eid',
            ("TEC_Start", "TEC_Failover"),
        ):
            sums.notices.append((position >> 44, class_name, message))
            posted[position >> 44] += 1
        for epoch in sorted({*sums.epochs, *posted}):
            if posted[epoch] != 1 or epoch not in sums.epochs:
                sums.problems.append(f"epoch {epoch} posted {posted[epoch]} notices, it should be 1")

    def _balance(self) -> None:
        sums = self.sums
        self._compare("lines read", sums.lines, "lines written", sums.written)
        made = sums.discarded + sums.unmatched + sums.filtered + sums.events
        self._compare("lines read", sums.lines, "discarded + unmatched + filtered + events", made)
        self._compare("events acknowledged", sums.acknowledged, "events sent", sums.events)
        self._compare("events recorded", sums.recorded, "events acknowledged", sums.acknowledged)
        fates = sums.rejected + sums.stored + sums.counted + sums.dropped.total()
        self._compare("events acknowledged", sums.acknowledged, "rejected + stored + counted + dropped", fates)


def table(sums: Sums, tale: Tale) -> list[tuple[str, str, str]]:
    """The rows to show: what, how many, remark."""
    dropped = ", ".join(f"{rule} {number}" for rule, number in sums.dropped.most_common())
    rows: list[tuple[str, int | str, str]] = [
        ("lines written", sums.written, ""),
        ("lines read by the adapter", sums.lines, ""),
        ("  discarded by a format", sums.discarded, ""),
        ("  matched by no format", sums.unmatched, ""),
        ("  sent as events", sums.events, f"{sums.filtered} filtered" if sums.filtered else ""),
        ("events acknowledged", sums.acknowledged, "each is on disk before it is acknowledged"),
        ("  rejected", sums.rejected, ""),
        ("  stored", sums.stored, ""),
        ("  duplicates counted", sums.counted, "in repeat_count of the event they repeat"),
        ("  dropped by other rules", sums.dropped.total(), dropped),
        ("derived by rules", sums.derived, "such as the source of many failed logins"),
        ("lost", len(sums.lost), ""),
        ("doubled", len(sums.doubled), ""),
        ("problems closed", sums.closed, f"{sums.recovered} recover in the log" if tale.problems is not None else ""),
        ("heartbeats acknowledged", tale.probe_acked, "a second sender, which measures the service"),
    ]
    for fault in tale.faults:
        rows.append(
            (f"seconds without service, {fault.what}", f"{fault.gap:.2f}", f"{fault.node} -> {fault.successor}")
        )
    rows.append(("epochs that opened their port", len(sums.epochs), ""))
    rows.append(("notices posted", len(sums.notices), ""))
    for epoch, class_name, message in sums.notices:
        rows.append((f"  epoch {epoch}", class_name, message))
    return [(name, f"{value:,}" if isinstance(value, int) else value, remark) for name, value, remark in rows]


def as_json(sums: Sums, tale: Tale) -> dict[str, Any]:
    """All numbers as one object."""
    numbers = {name: value for name, value in vars(sums).items() if isinstance(value, int)}
    return {
        **numbers,
        "dropped": sums.dropped.total(),
        "lost": len(sums.lost),
        "doubled": len(sums.doubled),
        "problems": sums.problems,
        "epochs": sums.epochs,
        "notices": len(sums.notices),
        "gaps": {fault.what: round(fault.gap, 3) for fault in tale.faults},
    }
