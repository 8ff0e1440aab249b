"""How a worker ends, as its parent reads it from the exit code."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that mean something; every other one is a crash."""

    DRAINED = 0
    """Asked to leave, and left."""
    CRASHED = 70
    """An error nobody handled; its traceback is in the worker's log."""
    POOL_TAKEN = 75
    """Another living worker holds the pool's lock."""
