"""opentec: typed events, correlation rules, a repository, and a failover that loses nothing."""

__version__ = "0.1.0.dev0"
