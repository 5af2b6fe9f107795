"""The tables of a run, as docs/performance.md has them."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from bench.server import STAGES

AIM: Final = 15_000  # events a second, acknowledged and stored with ten rules
_RATES: Final = (("acked_per_s", 0), ("stored_per_s", 0), ("behind_s", 1))
# facts of the machine on which the aim was set
REFERENCE: Final = {"sqlite_rows": 85_000, "parse_loop": 144_000}


def middle(values: list[float], digits: int = 0) -> str:
    """Median, and in brackets least and greatest where there are several."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def render(result: dict[str, Any]) -> str:
    """Markdown."""
    parts = [_calibration(result), _aim(result), _rates(result), _latencies(result), _cpu(result), _gaps(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _calibration(result: dict[str, Any]) -> str:
    rounds = [one["calibration"] for one in result["rounds"]]
    names = {
        "sqlite_rows": "sqlite3 alone, rows/s in batches of 1,000",
        "fdatasyncs": "fdatasync of 4 KiB, a second",
        "parse_loop": "parse loop, event texts/s",
    }
    rows = [[text, middle([one[name] for one in rounds])] for name, text in names.items()]
    return _table("Calibration, in every round", ["what", "median (least-greatest)"], rows)


def _aim(result: dict[str, Any]) -> str:
    rows = []
    for selector in result["selectors"]:
        runs = [one[selector]["aim"] for one in result["rounds"] if selector in one]
        rows.append([selector, f"{result['seconds']:g}", str(len(runs)), *_kept_up(runs)])
    if long := result.get("sustained"):
        rows.append([long["selector"], f"{long['seconds']:g}", "1", *_kept_up([long])])
    head = ["selector", "seconds", "runs", "acknowledged/s", "stored/s", "behind at the end, s"]
    return _table(f"{AIM:,} events a second offered, 10 rules", head, rows)


def _kept_up(runs: list[dict[str, Any]]) -> list[str]:
    return [middle([run[name] for run in runs], digits) for name, digits in _RATES]


def _rates(result: dict[str, Any]) -> str:
    rows = []
    for selector in result["selectors"]:
        runs = [(one["calibration"], one[selector]["saturated"]) for one in result["rounds"] if selector in one]
        stored = [run["stored_per_s"] for _, run in runs]
        rows.append(
            [
                selector,
                middle([run["acked_per_s"] for _, run in runs]),
                middle(stored),
                middle([run["stored_per_s"] / mark["sqlite_rows"] for mark, run in runs], 2),
                middle([run["stored_per_s"] / mark["parse_loop"] for mark, run in runs], 2),
                middle([run["behind_s"] for _, run in runs], 1),
            ]
        )
    head = [
        "selector",
        "acknowledged/s",
        "stored/s",
        "stored / sqlite3 rows",
        "stored / parse loop",
        "behind at the end, s",
    ]
    return _table(f"As fast as it goes, 10 rules, {result['seconds']:g} s", head, rows)


def _latencies(result: dict[str, Any]) -> str:
    rows = []
    for selector in result["selectors"]:
        runs = [one[selector]["offered"] for one in result["rounds"] if selector in one]
        rows.append([selector, middle([run["acked_per_s"] for run in runs])])
        for what in ("ack_ms", "stored_ms"):
            rows[-1].append(
                " / ".join(f"{median([run[what][name] for run in runs]):.1f}" for name in ("p50", "p99", "max"))
            )
    head = ["selector", "acknowledged/s", "acknowledged after ms, p50 / p99 / max", "stored after ms, p50 / p99 / max"]
    return _table(f"{result['rate']:,} events a second offered, {result['seconds']:g} s", head, rows)


def _cpu(result: dict[str, Any]) -> str:
    rows = []
    for selector in result["selectors"]:
        for kind, text in (("saturated", "as fast as it goes"), ("offered", f"{result['rate']:,}/s offered")):
            runs = [one[selector][kind]["cpu_us"] for one in result["rounds"] if selector in one]
            values = [f"{median([run[name] for run in runs]):.1f}" for name in (*STAGES, "senders")]
            rows.append([selector, text, *values])
    return _table("CPU, microseconds per event", ["selector", "load", *STAGES, "senders"], rows)


def _gaps(result: dict[str, Any]) -> str:
    rows = [
        [fault, str(len(values)), f"{median(values):.2f}", f"{max(values):.2f}"]
        for fault, values in result["gaps"].items()
    ]
    return (
        _table("Seconds without service", ["fault of the active node", "times", "median", "greatest"], rows)
        if rows
        else ""
    )


def verdict(result: dict[str, Any]) -> str:
    """What there is to say of the aim, with the calibration beside it."""
    stored = {
        selector: median([one[selector]["aim"]["stored_per_s"] for one in result["rounds"] if selector in one])
        for selector in result["selectors"]
    }
    share = {
        name: median([one["calibration"][name] for one in result["rounds"]]) / value
        for name, value in REFERENCE.items()
    }
    found = ", ".join(f"{selector} {value:,.0f} ({value / AIM:.0%})" for selector, value in stored.items())
    return (
        f"Aim: {AIM:,} events/s acknowledged and stored, where the calibration is that of the reference. "
        f"Stored when that is offered: {found}. Of the reference, sqlite3 has {share['sqlite_rows']:.0%} and the "
        f"parse loop {share['parse_loop']:.0%}."
    )
