"""The five processes, their supervision, the takeover, and the configuration."""
