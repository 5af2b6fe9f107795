"""`tec status`, wstatesvr: is the server healthy? Processes alone do not say so (redbook, appendix C)."""

from __future__ import annotations

from typing import Any

import typer

from opentec.commands import endings, processes
from opentec.commands.cli import Debug, Directory, Json, Node, Status, say, say_json
from opentec.commands.link import active, instance_of, node_status, other_runtime, silent
from opentec.events.records import epoch_of, parse_position
from opentec.ha import epochs, marks
from opentec.server.errors import Elsewhere
from opentec.server.instance import Instance, choose_node

Report = dict[str, Any]


def status(directory: Directory = None, node: Node = None, json: Json = False, debug: Debug = False) -> None:
    """Say how the server is, and why.

    Without --node: the active node, else one of this host that stands by. Exit status 0 healthy, 1 unhealthy,
    3 stopped, 4 standby or active on another host.
    """
    instance = instance_of(directory)
    if node is not None:
        choose_node(instance, node)
    report = look(instance, node)
    if json:
        say_json(report)
    else:
        _show(report)
    raise typer.Exit(exit_status(report))


def exit_status(report: Report) -> Status:
    """The exit status that a report means."""
    match report["state"]:
        case "standby":
            return Status.NO_SERVER
        case "stopped":
            return Status.REFUSED
    return Status.OK if report["healthy"] else Status.FAILED


def look(instance: Instance, node: str | None) -> Report:
    """What tec_master says of a node (None: of the server), with `nodes`: node -> state of all nodes on this host.

    Raises Elsewhere when the active node is on another host and none is here, Denied when this user may not ask.
    """
    newest = active(instance)
    reports = {name: _of_node(instance, name, newest) for name in instance.nodes()}
    states = {name: report["state"] for name, report in reports.items()}
    chosen = node
    if chosen is None:
        here = [name for name, state in states.items() if state != "stopped"]
        if newest is not None and newest.node in here:
            chosen = newest.node
        elif here:
            chosen = here[0]
        elif newest is not None and not epochs.holder_dead(newest) and newest.node:
            raise Elsewhere(f"the active node is {newest.node}, which is not on this host; no node runs here")
        else:
            chosen = newest.node if newest is not None and newest.node in reports else next(iter(reports), "")
    report = reports.get(chosen) or _stopped(instance, chosen, newest)
    if newest is not None and report["state"] == "standby":
        report["active"] = newest.node
    # of another node that does not answer it must be known too: nobody may be able to take over
    mute = [name for name, state in states.items() if state == "unknown" and name != report["node"]]
    warnings = [*report.get("warnings", ()), *(f"node {name}: {reports[name]['reasons'][0]}" for name in mute)]
    return {**report, "nodes": states, **({"warnings": warnings} if warnings else {})}


def _of_node(instance: Instance, node: str, newest: epochs.EpochFile | None) -> Report:
    report = node_status(instance, node)
    if report is not None:
        return report
    found = [process for process in processes.find(instance.directory) if process.node == node]
    hidden = other_runtime(instance, node, newest)
    if not found and not hidden:
        return _stopped(instance, node, newest)
    return {
        "server": _name(instance),
        "node": node,
        "state": "unknown",
        "healthy": False,
        "reasons": [hidden or silent(instance, node, newest, found)],
        "processes": {process.name: {"pid": process.pid} for process in found},
    }


def _stopped(instance: Instance, node: str, newest: epochs.EpochFile | None) -> Report:
    reasons, log = [], instance.logs(node) / "tec_master.log"
    if newest is not None and newest.node == node and epochs.holder_dead(newest):
        asked = marks.ended_cleanly(instance.ha, newest.number)
        if not asked and marks.switch_requested(instance.ha, newest.number) is None:
            reasons.append(f"it was not stopped with `tec stop`: it died, or was killed{endings.last_words(log)}")
    return {
        "server": _name(instance),
        "node": node,
        "state": "stopped",
        "healthy": False,
        "reasons": reasons,
        "epoch": newest.number if newest is not None else None,
        "processes": {},
    }


def _name(instance: Instance) -> str:
    return str(instance.raw_config().get("server", {}).get("name", "tec"))


def _waiting(report: Report) -> str:
    durable, committed = (parse_position(report[name]) for name in ("durable", "committed"))
    if epoch_of(durable) != epoch_of(committed):
        return "records of an epoch before wait" if committed < durable else "nothing waits"
    return f"{report['waiting_bytes']} bytes of the log wait" if report["waiting_bytes"] else "nothing waits"


def _outbox(report: Report) -> str:
    programs, forwards = report.get("programs_waiting", 0), report.get("forwards_waiting", 0)
    waiting = ["1 program waits or runs" if programs == 1 else f"{programs} programs wait or run"] * bool(programs)
    waiting += [f"{forwards} event{' waits' if forwards == 1 else 's wait'} for another server"] * bool(forwards)
    return f"{', '.join(waiting)}; `tec task log` shows more" if waiting else "nothing waits"


def _recovery(state: Report | None) -> str:
    """How far what the epoch before left behind is worked off."""
    if state is None:
        return ""
    done = f"{state['records']} records replayed in {state['seconds']:.1f} s, {state['rate']} a second"
    if state["done"]:
        return f"done: {done}"
    to_go = "" if state["to_go"] is None else f", about {state['to_go']} to go"
    return f"under way: {done}{to_go} ({state['bytes_to_go'] / 1e6:.1f} MB of the log)"


def _disk(state: Report | None) -> str:
    """Only what is worth a line: that records were slow to become durable."""
    if state is None or state["slow_ms"] is None:
        return ""
    slow, last = state["slow_ms"], state["sync_ms"]
    return f"slow: {slow} ms to make records durable, {state['slow_ago']} s ago; last time {last} ms"


def _show(report: Report) -> None:
    state = report["state"]
    if state == "up" and not report["healthy"]:
        state = "up, unhealthy"
    rows = [("server", report["server"]), ("node", report["node"]), ("state", state)]
    if "active" in report:
        rows.append(("active", report["active"] or "none"))
    if report.get("epoch") is not None:
        rows.append(("epoch", report["epoch"]))
    if "uptime" in report:
        rows.append(("up for", f"{report['uptime']:.0f} s"))
    for name, process in report["processes"].items():
        beat = f", last sign of life {process['beat']:.1f} s ago" if "beat" in process else ""
        rows.append((name, f"pid {process['pid']}{beat}" if process["pid"] else "not running"))
    if state.startswith("up") or state == "stopping":
        rows += [
            ("log", f"durable {report['durable']}, {report['log_bytes'] / 1e6:.1f} MB on disk"),
            ("repository", f"committed {report['committed']}, {_waiting(report)}"),
            ("events", f"{report['acknowledged']} acknowledged, {report['rejected']} of them rejected"),
            ("connections", report["connections"]),
            ("outbox", _outbox(report)),
            ("rule base", report["rule_base"]),
        ]
        more = [("recovery", _recovery(report.get("recovery"))), ("disk", _disk(report.get("disk")))]
        rows += [(label, text) for label, text in more if text]
    for name, other in report["nodes"].items():
        if name != report["node"] and report["state"] != "stopped":
            # of a node on another host nothing is known here
            rows.append((f"node {name}", other if other != "stopped" else "does not run on this host"))
    rows += [("reason", reason) for reason in report["reasons"]]
    rows += [("warning", warning) for warning in report.get("warnings", ())]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        say(f"{label:<{width}}  {value}")
