"""Words and times of rbln-ctl's output, and the times of its command line."""

import argparse
import re
from datetime import UTC, datetime
from typing import Final

_AGO: Final = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_since(text: str) -> float:
    """Return seconds since the epoch, from a time ago or a point in time (UTC by default).

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        now = datetime.now(UTC).timestamp()
        return now - int(ago["number"]) * _SECONDS[ago["unit"]]
    try:
        when = datetime.fromisoformat(text.strip())
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"expected 90s, 10m, 2h, 3d or a time such as 2026-11-25T08:30, got {text!r}"
        ) from error


def time_stamp(at: float) -> str:
    """Return a time with milliseconds, UTC; an invalid one is a dash."""
    try:
        when = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return "-"
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03}"


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    total = max(0, int(seconds))
    days, hours = divmod(total // 3600, 24)
    minutes, rest = divmod(total % 3600, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (value, _) in enumerate(units) if value), 3)
    return " ".join(f"{value} {unit}" for value, unit in units[first : first + 2])


def time_ago(since: float | None, now: float) -> str:
    """Return the time since ``since``, both in seconds since the epoch; empty if it is None."""
    return "" if since is None else f"{duration_text(now - since)} ago"


def reason_text(source: str, reason: str) -> str:
    """Return a reason with the source of its evidence, ready for output."""
    return plain(f"{source}: {reason}" if source and reason else reason)


def plain(text: str) -> str:
    """Return a text without control characters, because it may come from any log or file."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
