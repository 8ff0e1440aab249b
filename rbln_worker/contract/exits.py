"""How the processes end, as whoever started them reads it from the exit code. Only success is 0."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that mean something; every other one is a crash."""

    DRAINED = 0
    """A worker or the supervisor was asked to leave, and left."""
    UNUSABLE = 1
    """The supervisor can serve nothing: its lines on standard error say what to mend."""
    USAGE = 2
    """The supervisor's command line is wrong: no restart will help."""
    CRASHED = 70
    """An error nobody handled; its traceback is in the log."""
    OUT_OF_MEMORY = 71
    """A worker needed more memory than it may have (``--worker-memory-max``) or there is."""
    POOL_TAKEN = 75
    """A worker found that another living one holds the pool's lock."""
    POOL_LOST = 76
    """A worker's lock file is not in its place any more: another worker can take the pool."""
    PRIVILEGED = 77
    """A worker could not give up its privileges, and does not work with them."""


_WORDS = {
    Exit.CRASHED: "an error nobody handled",
    Exit.OUT_OF_MEMORY: "out of memory",
    Exit.POOL_TAKEN: "another worker holds the pool's lock",
    Exit.POOL_LOST: "the pool's lock file was removed or replaced",
    Exit.PRIVILEGED: "it could not give up its privileges",
}


def meaning(code: int) -> str:
    """A worker's exit code in words, in brackets behind a space; empty where it says nothing."""
    words = _WORDS.get(Exit(code)) if code in set(Exit) else None
    return f" ({words})" if words else ""
