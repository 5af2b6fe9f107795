"""Predicates that will never exist, each with the reason and what to write instead (facts tec.md 3.6, tec-2.md 3.6).

What a rule decides follows from the log and the rule base alone. So whatever reads or writes something else (a file,
the network, a clock, chance, the process) is refused when the rule base is compiled, and not when the goal runs.

The names are those of TEC and of the Prologs that its users know (BIM, SWI, ISO). A rule base may define a clause with
such a name: it is looked up here only when nothing else has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FILES: Final = (
    "rules read and write no files: the same events must give the same result after a failover and in a test; "
    "keep values with set_global_var or rerecord, say something with log_error, or start a program with exec_program"
)
_OUTPUT: Final = (
    "rules have no terminal and no output; make text with sprintf, say something with log_error, or look with `tec why`"
)
_INPUT: Final = "rules have no input but events; post an event with what the rule is to know"
_SOURCES: Final = (
    "rules are compiled once, from the sources that rule_sets names; write the clauses into a rule set, or assert them"
)
_DUMPS: Final = (
    "global variables are stored with the events and come back after a restart, so no file is needed; "
    "give first values in a rule on TEC_Rulebase_Loaded"
)
_NETWORK: Final = (
    "a rule cannot ask the network: the answer would be another one in a replay; "
    "let an adapter send an event for the node and look for it with first_instance"
)
_SHELL: Final = "rules run nothing themselves; start a program with exec_program, or a task with exec_task"
_CHANCE: Final = "chance would make a failover and a replay differ; count with check_and_increment_count"
_CLOCK: Final = "the time of a rule is log time; take it with get_time, get_local_time or get_gm_time"
_WAIT: Final = "a rule that waits would hold up every event behind it; use set_timer and a timer_rule"
_PROCESS: Final = "a rule cannot end or change the server; commit_set ends a rule set, and `tec stop` the server"
_OPTIONS: Final = "rules see their rule base and nothing of the server; put the value into a rule or rulebase.toml"
_UNSURE: Final = "no public page shows what it does; take from the count with decrement_slot(_event, repeat_count, 1)"
_DEBUGGER: Final = "there is no debugger inside the server; use `tec trace`, `tec why` and `tec test`"


def _because(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


# name -> reason, whatever the number of arguments
REFUSED: Final[Mapping[str, str]] = {
    **_because(
        _FILES,
        "fopen fclose open close fprintf fwrite fread fget0 fput fnl fflush flush_output tell telling told append_file "
        "see seeing seen current_output current_input set_output set_input exists_file delete_file rename_file "
        "current_directory working_directory tmpnam",
    ),
    **_because(_OUTPUT, "printf print write writeq writeln write_canonical display portray_clause nl put put_char tab"),
    **_because(_INPUT, "read read_term get get0 get_char peek_char skip prompt ttyflush"),
    **_because(_SOURCES, "consult reconsult compile ensure_loaded load_files current_file re_user_predicates"),
    **_because(_DUMPS, "load_globals save_globals"),
    **_because(
        _NETWORK,
        "ip_node_unreachable ip_node_reachable gethostbyname gethostbyaddr",
    ),
    **_because(_SHELL, "system shell unix exec"),
    **_because(_CHANCE, "random randomize srandom"),
    **_because(_CLOCK, "time cputime statistics real_time localtime"),
    **_because(_WAIT, "sleep wait"),
    **_because(_PROCESS, "halt abort exit"),
    **_because(_OPTIONS, "getenv setenv argv"),
    **_because(_UNSURE, "remove_from_repeat"),
    **_because(_DEBUGGER, "trace notrace spy nospy debug nodebug leash"),
}
