"""Delays before the API server is called again."""

from typing import Final

FIRST_DELAY_S: Final = 0.2
MAX_DELAY_S: Final = 20.0
MAX_RETRIES: Final = 3
"""Repetitions of one call that the server asked to repeat later."""


def retry_delay(failures: int, chance: float, required_s: float = 0.0) -> float:
    """Return the delay after a number of failures in a row (seconds).

    It doubles from FIRST_DELAY_S to MAX_DELAY_S. ``chance`` (0 to 1) takes up to half of it away,
    so that nodes do not call in step when the server comes back. It is not shorter than
    ``required_s``, the server's Retry-After, to which up to a quarter is added.
    """
    full = min(FIRST_DELAY_S * 2.0 ** min(max(failures - 1, 0), 32), MAX_DELAY_S)
    return max(full * (1 - chance / 2), required_s * (1 + chance / 4))


def may_repeat(retry_after_s: float, retries: int, remaining_s: float) -> bool:
    """Return True if a call that the server refused for now may be repeated in its time."""
    return 0 < retry_after_s < remaining_s and retries < MAX_RETRIES
