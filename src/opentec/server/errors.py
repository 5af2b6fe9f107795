"""The errors of the server. Each says when it is raised."""

from __future__ import annotations


class ServerError(Exception):
    """Base of everything that keeps the server from doing what it was asked. The text is for a person."""


class ConfigError(ServerError):
    """tec_server.toml, or what the command line adds to it, is not right."""


class InstanceError(ServerError):
    """The instance directory is missing, unreadable, or belongs to something else."""


class NotRunning(ServerError):
    """No server answers on this host for this instance."""


class Elsewhere(NotRunning):
    """The active server runs on another node, whose sockets cannot be reached from here."""


class Refused(ServerError):
    """The server answered and said no."""
