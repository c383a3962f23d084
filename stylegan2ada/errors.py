"""The errors that are meant for people."""


class UserError(Exception):
    """A mistake in what the user gave: the message names the value, the place and the remedy.

    The scripts print it as one line and exit with status 2.
    """


class NonFiniteError(RuntimeError):
    """A NaN or Inf appeared in a loss, gradient or parameter; training cannot go on honestly."""


class ProcessLostError(RuntimeError):
    """Another process that trains the same network is gone; this one cannot go on without it."""
