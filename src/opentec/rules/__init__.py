"""Rule bases: the rule language, its compiler, and the engine."""
