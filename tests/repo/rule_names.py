"""What TEC's rule language has, by its public documentation, and the tests that show it best."""

from __future__ import annotations

from typing import Final, NamedTuple


class Construct(NamedTuple):
    """What the language has besides predicates: `pattern` finds it in the text of a rule."""

    title: str
    pattern: str
    does: str
    test: str = ""  # which one to name, where the first that says it would not be the best: file::function


# in the order of the page; the verified and the unverified shapes of tec.md 3.2-3.5 and tec-2.md 3.2-3.5
CONSTRUCTS: Final = (
    Construct("`rule`", r"\brule\s*:\s*\w", "plain rule", "test_engine.py::test_duplicates_are_counted_and_dropped"),
    Construct(
        "`reception_action`",
        r"reception_action\s*:",
        "goals for a new event",
        "test_engine_redo.py::test_a_new_event_runs_reception_actions_and_a_redo_runs_redo_actions",
    ),
    Construct(
        "`action`",
        r"(?<!_)action\s*:",
        "goals for a new event and for a redo",
        "test_engine_redo.py::test_a_new_event_runs_reception_actions_and_a_redo_runs_redo_actions",
    ),
    Construct(
        "`redo_action`",
        r"redo_action\s*:",
        "goals for `redo_analysis`",
        "test_engine_redo.py::test_a_new_event_runs_reception_actions_and_a_redo_runs_redo_actions",
    ),
    Construct(
        "`change_rule`",
        r"change_rule\s*:",
        "before a change is made",
        "test_engine_changes.py::test_a_change_rule_sees_an_operators_change_before_it_is_made",
    ),
    Construct(
        "`sender:`", r"\bsender\s*:", "who asks for the change", "test_engine_changes.py::test_conditions_on_a_request"
    ),
    Construct(
        "`operator(_)`, `rule(_)`, `closed_event`",
        r"operator\(|rule\(_|closed_event",
        "the senders there are",
        "test_engine_changes.py::test_conditions_on_a_request",
    ),
    Construct(
        "`attribute:`, `set_to`",
        r"attribute\s*:.*set_to",
        "which slot is to change, and to what",
        "test_engine_changes.py::test_conditions_on_a_request",
    ),
    Construct(
        "`timer_rule`", r"timer_rule\s*:", "when a timer falls due", "test_engine_timers.py::test_order_and_due_times"
    ),
    Construct("`timer_duration`", r"timer_duration\s*:", "the seconds that the timer was given"),
    Construct(
        "`timer_info`",
        r"timer_info\s*:",
        "the info that the timer was given",
        "test_engine_timers.py::test_conditions_on_the_timer_and_on_the_event",
    ),
    Construct(
        "`simple_rule`", r"simple_rule\s*:", "bare class, no variables, no commas", "test_kinds.py::test_simple_rules"
    ),
    Construct(
        "`frequency_exceeds N within T`",
        r"frequency_exceeds\s+\d+\s+within",
        "the N+1st event within the time",
        "test_kinds.py::test_a_simple_rule_counts_and_begins_anew",
    ),
    Construct("`when: duplicate` *ours*", r"when\s*:\s*duplicate", "an open duplicate is there"),
    Construct(
        "`when: always` *ours*", r"when\s*:\s*always", "for every such event", "test_kinds.py::test_simple_rules"
    ),
    Construct(
        "`correlation_rule`",
        r"correlation_rule\s*:",
        "two classes that belong together",
        "test_kinds.py::test_either_order_links_cause_and_effect",
    ),
    Construct(
        "`event_relation: A causes B`",
        r"event_relation\s*:[^.]*?causes",
        "links, whichever comes first",
        "test_kinds.py::test_either_order_links_cause_and_effect",
    ),
    Construct("`event_relation: A clears B`", r"event_relation\s*:[^.]*?clears", "closes"),
    Construct(
        "`within: 10 minutes`",
        r"within\s*:\s*\d+\s+\w+",
        "how far back to look",
        "test_kinds.py::test_a_cause_with_everything",
    ),
    Construct(
        "`when: [A.slot equals B.slot]`",
        r"when\s*:\s*\[\s*\w+\.\w+",
        "which of them belong together",
        "test_kinds.py::test_a_cause_with_everything",
    ),
    Construct("`description`", r"description\s*:", "may be left out", "test_parser.py::test_a_whole_file"),
    Construct("`directive`", r"directive\s*:", "any word is taken"),
    Construct("names bare or quoted", r"rule\s*:\s*'", "of rules and actions", "test_parser.py::test_a_whole_file"),
    Construct(
        "actions without a name",
        r"action\s*:\s*\(",
        "are called `action_1`, ...",
        "test_parser.py::test_unnamed_actions_count_all_actions_of_the_rule",
    ),
    Construct(
        "`of_class 'A'`",
        r"of_class\s+'",
        "with all classes that inherit from it",
        "test_engine_bodies.py::test_searches",
    ),
    Construct("`of_class within [...]`", r"of_class\s+within", "of any of these"),
    Construct("`of_class _class`", r"of_class\s+_\w", "of any class"),
    Construct("`where [ ]`", r"where\s*\[\s*\]", "no condition", "test_engine_bodies.py::test_searches"),
    Construct("comma before `where`", r"of_class\s+'?\w+'?\s*,\s*where", "is taken"),
    Construct("`equals`", r":[^,\]]*\bequals\s", "condition", "test_engine_bodies.py::test_conditions"),
    Construct("`not_equals`", r"not_equals\s", "condition", "test_engine_bodies.py::test_conditions"),
    Construct("`within`", r":[^,\]]*\bwithin\s*\[", "condition", "test_engine_bodies.py::test_conditions"),
    Construct("`outside`", r":[^,\]]*\boutside\s*\[", "condition", "test_engine_bodies.py::test_conditions"),
    Construct("`greater_than`", r"greater_than\s", "condition, enumerations by their numbers"),
    Construct("`smaller_than`", r"smaller_than\s", "condition"),
    Construct("`greater_or_equals`", r"greater_or_equals\s", "condition"),
    Construct("`smaller_or_equals`", r"smaller_or_equals\s", "condition"),
    Construct("`slot: _x equals v`", r":\s*_\w+\s+equals", "binds and tests"),
    Construct(
        "`slot: _x`",
        r"\w+\s*:\s*_\w+\s*(?:,|\]|$)",
        "binds, or compares",
        "test_engine_bodies.py::test_conditions",
    ),
    Construct("`_event - 600 - 600`", r"_\w+\s+-\s+\d+\s+-\s+\d+", "time window in seconds"),
    Construct("`_event -3600 -0`", r"_\w+\s+-\d+\s+-\d+", "the same without blanks"),
    Construct("`%` comments", r"(?m)(^|\s)%\s+\w", "to the end of the line", "test_parser.py::test_comments_anywhere"),
    Construct("`/* */` comments", r"/\*", "also inside of lists and bodies", "test_parser.py::test_comments_anywhere"),
    Construct(
        "double-quoted text",
        r"\(\s*\"[^\"]|\s=\s\"",
        "is text like `'text'`",
        "test_engine_bodies.py::test_solutions",
    ),
    Construct("backslash at the end of a line", r"\\\n", "a text runs over lines", "test_parser.py::test_quoted_atoms"),
    Construct("`\\n`, `\\t` in texts", r"\\[nt]", "line end and tab", "test_parser.py::test_quoted_atoms"),
    Construct(
        "`_variable`, `_`", r"\b_\w+\s*=", "variables begin with an underscore", "test_engine_bodies.py::test_solutions"
    ),
    Construct("`[a, b \\| _rest]`", r"\|\s*_\w+\s*\]", "lists"),
    Construct(
        "`a, b`",
        r"\w\),\s*\w+\(",
        "conjunction; all solutions are driven",
        "test_engine.py::test_a_recovery_closes_all_problems_and_is_dropped",
    ),
    Construct("`a ; b`", r"\s;\s", "alternatives", "test_engine_bodies.py::test_solutions"),
    Construct("`c -> a ; b`", r"->", "if, then, else"),
    Construct("`\\+ a`", r"\\\+", "negation"),
    Construct("`not(a)`", r"\bnot\(", "negation"),
    Construct("`=`, `\\=`", r"\\=\s", "unification", "test_engine_bodies.py::test_solutions"),
    Construct("`==`, `\\==`", r"\\==", "the same as it stands"),
    Construct("`=:=`, `=\\=`, `<`, `>`, `=<`, `>=`", r"=:=", "comparison of numbers"),
    Construct("`forall`, `once`, `ignore`, `call`", r"forall\(", "of Prolog"),
    Construct("`true`, `fail`", r"\bfail\b", "of Prolog"),
    Construct("`!`", r"(?:,|:-|\()\s*!\s*[,.)]", "in clauses of one's own", "test_clauses.py::test_solutions"),
    Construct("facts and clauses in rule files", r":-", "predicates of one's own", "test_clauses.py::test_solutions"),
)

# what people rely on, and no single construct shows
SEMANTICS: Final = {
    "rules run in the order of the rule sets": "test_engine_activation.py::test_how_far_drop_and_commit_rule_reach",
    "all solutions of a body are driven": "test_engine.py::test_a_recovery_closes_all_problems_and_is_dropped",
    "how far `commit_action`, `commit_rule` and `commit_set` reach": "test_engine.py::test_how_far_a_commit_reaches",
    "goals behind a commit still run": "test_engine.py::"
    "test_commit_rule_skips_the_remaining_actions_and_what_follows_it_in_the_body_still_runs",
    "a goal that fails ends its action only": "test_engine.py::"
    "test_a_failing_goal_fails_its_action_and_the_next_one_runs",
    "the two disputed points, both ways": "test_engine_activation.py::test_how_far_drop_and_commit_rule_reach",
    "a dropped event": "test_engine.py::test_a_dropped_cause_still_generates_and_its_timers_and_programs_let_go",
    "a change by one rule is seen by the next": "test_engine.py::"
    "test_a_change_by_one_rule_is_seen_by_the_next_and_the_selection_is_repeated",
    "generated events pass all rules behind their cause": "test_engine.py::"
    "test_generated_events_come_after_their_cause_and_pass_all_rules",
    "`redo_analysis` takes its turn": "test_engine_redo.py::"
    "test_a_redo_waits_for_the_event_under_analysis_and_takes_its_turn_among_new_events",
    "change requests of operators pass change rules first": "test_engine_changes.py::"
    "test_a_change_rule_sees_an_operators_change_before_it_is_made",
    "so do those of rules, and what is set does not": "test_engine_changes.py::"
    "test_what_rules_ask_for_passes_change_rules_and_what_they_set_does_not",
    "an event that arrives CLOSED": "test_engine.py::"
    "test_an_event_that_arrives_closed_closes_the_newest_open_duplicate",
    "`set_event_status` leaves the duration alone": "test_engine_bodies.py::"
    "test_closing_by_set_leaves_the_duration_alone",
    "a goal whose change is dropped holds all the same": "test_engine_changes.py::"
    "test_a_goal_whose_change_is_dropped_succeeds_and_says_so",
    "several slots of an operator are changed together or not at all": "test_engine_changes.py::"
    "test_an_operators_change_is_made_as_a_whole_or_not_at_all",
    "who takes over an acknowledged event asks for `administrator`": "test_engine_changes.py::"
    "test_who_takes_over_an_acknowledged_event_asks_for_its_administrator",
    "change rules that run away stop the rule that asked": "test_engine_changes.py::"
    "test_change_rules_that_run_away_stop_the_rule_that_asked",
    "change requests nest eight deep": "test_engine_changes.py::test_requests_within_one_another_end_eight_deep",
    "`TEC_Rulebase_Loaded` comes with another rule base only": "test_engine_activation.py::"
    "test_only_another_rule_base_is_told",
    "a tick at which a rule fired has the disposition FIRED": "test_engine_activation.py::"
    "test_a_tick_at_which_a_rule_fired_has_an_outcome",
    "cause and effect are found from both ends": "test_causes.py::test_what_is_found",
    "timers fire in order, each at its own time": "test_engine_timers.py::test_order_and_due_times",
    "every timer has steps and new events of its own": "test_engine_changes.py::"
    "test_every_timer_has_steps_and_new_events_of_its_own",
    "an effect keeps its cause, and a closed cause causes nothing": "test_kinds.py::"
    "test_an_effect_keeps_its_cause_and_a_closed_cause_causes_nothing",
    "clauses of all rule sets are one predicate": "test_clauses.py::test_clauses_of_all_rule_sets_are_one_program",
    "a threshold is reached by the event that makes the number full": "test_thresholds.py::"
    "test_it_is_reached_by_the_event_that_makes_the_number_full_and_begins_anew",
    "an event counts once for a threshold": "test_thresholds.py::test_an_event_counts_once_however_often_it_is_checked",
    "the same definition keeps its counts": "test_thresholds.py::"
    "test_the_same_definition_keeps_counts_and_another_does_not",
    "definitions of an earlier load go with the next": "test_thresholds.py::"
    "test_definitions_of_an_earlier_load_are_gone_with_the_next",
    "rules and actions that nothing reaches are errors": "test_checker.py::test_rules_that_are_never_reached",
    "a trace says which condition said no, and changes nothing": "test_explain.py::"
    "test_effects_are_those_without_explanations",
    "a full cache": "test_engine.py::TestFullCache.test_the_oldest_leave_and_a_notice_says_so",
    "the event under analysis is not found by searches": "test_engine_bodies.py::"
    "test_the_event_under_analysis_is_never_found",
    "what variables of filters and of actions live for": "test_engine_bodies.py::"
    "test_an_action_forgets_what_it_bound_and_the_filter_does_not",
    "runaway backtracking is stopped, the event stored": "test_engine.py::"
    "test_runaway_backtracking_is_stopped_and_the_event_stored",
    "nothing is forgotten at a restart": "test_engine_restart.py::"
    "test_at_any_position_a_primed_engine_goes_on_as_the_one_before",
    "the rules in TEC's public documents load": "test_habits.py::test_the_rules_of_the_facts_load",
}
# a better test of a predicate than the first that uses it
PICKS: Final = {
    "add_to_repeat_count": "test_engine.py::test_duplicates_are_counted_and_dropped",
    "all_instances": "test_engine_bodies.py::test_searches",
    "assert": "test_facts.py::test_solutions",
    "bo_set_slotval": "test_engine_bodies.py::test_solutions",
    "change_event_status": "test_engine.py::test_a_recovery_closes_all_problems_and_is_dropped",
    "drop_change_request": "test_engine_changes.py::test_an_operators_change_that_a_rule_drops_is_refused",
    "drop_received_event": "test_engine.py::test_duplicates_are_counted_and_dropped",
    "first_duplicate": "test_engine.py::test_duplicates_are_counted_and_dropped",
    "first_effect_event": "test_causes.py::test_what_is_found",
    "first_causal_event": "test_causes.py::test_what_is_found",
    "first_instance": "test_engine_bodies.py::test_searches",
    "generate_event": "test_engine.py::test_generated_events_come_after_their_cause_and_pass_all_rules",
    "get_time": "test_engine_bodies.py::test_solutions",
    "increment_slot": "test_slots.py::test_defaults_and_counting",
    "is": "test_engine_bodies.py::test_solutions",
    "log_error": "test_tracing.py::test_a_logged_error_is_an_event_that_names_the_rule",
    "print_cache": "test_tracing.py::test_a_printed_cache_is_a_note",
    "place_change_request": "test_engine_changes.py::"
    "test_what_rules_ask_for_passes_change_rules_and_what_they_set_does_not",
    "retract": "test_facts.py::test_solutions",
    "set_event_message": "test_engine_bodies.py::test_changes_of_slots",
    "set_event_severity": "test_engine_bodies.py::test_changes_of_slots",
    "set_event_status": "test_engine_bodies.py::test_closing_by_set_leaves_the_duration_alone",
    "set_log_error_source": "test_tracing.py::test_the_source_of_a_rule_sets_errors_can_be_named",
    "set_timer": "test_engine_timers.py::test_order_and_due_times",
}

# every predicate that the facts name (tec.md 3.4, 3.6; tec-2.md 3.6), verified or not, in the order of the alphabet
_NAMED: Final = """
abolish add_to_repeat_count all_clear_targets all_duplicates all_instances any_clear_target any_clearing_event
assert atomconcat attr_condition attr_exception attr_sequence bo_add_at_slotval_begin bo_add_at_slotval_end
bo_get_class_of bo_get_class_slots bo_get_enum_options bo_get_slotval bo_is_defined_for_class bo_is_direct_super_of
bo_is_super_of bo_remove_from_slotval bo_reset_default_slotval bo_set_slotval cancel_all_timers cancel_timer
change_event_administrator change_event_severity change_event_status check_all_thresholds check_and_increment_count
check_event_criteria check_threshold clear_closed_events clears commit_action commit_rule commit_set consult
convert_ascii_time convert_gm_time convert_local_time create_cache_search_criteria create_clearing_event
create_event_criteria create_event_sequence create_threshold current_file decrement_slot drop_change_request
drop_received_event erase_globals exec_program exec_program_local exec_task exec_task_local fclose findall
first_causal_event first_duplicate first_effect_event first_instance first_related_event fopen forward_event fprintf
generate_event get_attributes get_config_param get_global_grp get_global_var get_globals get_gm_time get_local_time
get_time global_exists increment_slot init_count init_event_activity inttoatom ip_node_unreachable is
is_clearing_event link_effect_to_cause load_globals log_error member not place_change_request pointertoint
print_cache print_class_tree print_event_activity printf re_mark_as_modified re_user_predicates recorda recorded
redo_analysis remove_from_repeat rerecord reset_count reset_event_activity reset_global_grp reset_threshold
resolve_time retract save_globals search_cache set_event_administrator set_event_message set_event_severity
set_event_status set_global_var set_log_error_source set_timer sprintf unlink_from_cause update_event_activity
"""
NAMES: Final = tuple(_NAMED.split())
