"""Exit codes of the processes. Only success is 0."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes with a meaning; every other exit code is a crash."""

    DRAINED = 0
    """A worker or the supervisor received a request to end, and ended."""
    UNUSABLE = 1
    """The supervisor can't serve: its lines on standard error contain the reason."""
    USAGE = 2
    """The supervisor's command line is wrong: a restart does not help."""
    CRASHED = 70
    """An error was not handled; its traceback is in the log."""
    OUT_OF_MEMORY = 71
    """A worker needed more memory than its limit (``--worker-memory-max``), or than there is."""
    POOL_TAKEN = 75
    """Another living worker holds the pool's lock."""
    POOL_LOST = 76
    """A worker's lock file was removed or replaced: another worker can take the pool."""
    PRIVILEGED = 77
    """A worker could not drop its privileges, and does not run with them."""


_WORDS = {
    Exit.CRASHED: "an error nobody handled",
    Exit.OUT_OF_MEMORY: "out of memory",
    Exit.POOL_TAKEN: "another worker holds the pool's lock",
    Exit.POOL_LOST: "the pool's lock file was removed or replaced",
    Exit.PRIVILEGED: "it could not give up its privileges",
}


def exit_meaning(code: int) -> str:
    """Return an exit code's meaning, in brackets after a space; empty if it has none."""
    words = _WORDS.get(Exit(code)) if code in set(Exit) else None
    return f" ({words})" if words else ""
