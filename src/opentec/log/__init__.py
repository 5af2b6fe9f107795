"""The reception log: append-only segments, one writer for each epoch (docs/log-format.md)."""
