"""The NT event log adapter: `.evtx` files and JSON lines of forwarded Windows events become typed events."""
