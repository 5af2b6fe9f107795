"""The logfile adapter: it tails files, turns lines into events by format files, and hands them to a sender."""
