"""The wire: EIF frames, the acknowledged mode, senders and their disk buffer (docs/protocol.md)."""
