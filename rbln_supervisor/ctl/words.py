"""What rbln-ctl says in plain lines: the results of a reload, a rescan and a validation."""

from collections.abc import Sequence

from rbln_supervisor.core.commands import Reloaded, Rescanned
from rbln_supervisor.core.configuration.config import NodeConfig


def reloaded(reply: Reloaded) -> str:
    """A sentence."""
    if not is_a_change(reply):
        return f"reloaded: nothing changed, {count(reply.unchanged, 'pool')} as before"
    return (
        f"reloaded: {count(reply.added, 'pool')} added, {len(reply.removed)} removed, "
        f"{len(reply.changed)} changed, {len(reply.unchanged)} unchanged"
    )


def is_a_change(reply: Reloaded) -> bool:
    """Whether a reload changed a pool, or moved a device."""
    moves = reply.plan.moves if reply.plan else ()
    return bool(reply.added or reply.removed or reply.changed or moves)


def rescanned(reply: Rescanned) -> str:
    """A sentence, then a line for each pool that changed."""
    functions = f"{reply.functions} PCI function{'' if reply.functions == 1 else 's'}"
    if not reply.changed:
        return f"rescanned: {functions}, no pool changed"
    head = f"rescanned: {functions}, {count(reply.changed, 'pool')} changed"
    return "\n".join([head, *(f"  ~ {plain(name)}" for name in reply.changed)])


def validated(file: str, config: NodeConfig) -> str:
    """A sentence, then a line for each pool."""
    lines = [
        f"  {pool.spec.name} ({pool.spec.device_type}, {count(pool.selectors, 'selector object')})"
        for pool in config.pools
    ]
    return "\n".join([f"{plain(file)}: valid, {count(config.pools, 'pool')}", *lines])


def duration(seconds: float) -> str:
    """A time in the two largest units that it has."""
    whole = max(0, int(seconds))
    days, hours = divmod(whole // 3600, 24)
    minutes, rest = divmod(whole % 3600, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (value, _) in enumerate(units) if value), 3)
    return " ".join(f"{value} {unit}" for value, unit in units[first : first + 2])


def ago(since: float | None, now: float) -> str:
    """How long ago a time was, both in seconds since the epoch; nothing where it isn't known."""
    return "" if since is None else f"{duration(now - since)} ago"


def count(things: Sequence[object], noun: str) -> str:
    """``1 pool``, ``2 pools``."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def plain(text: str) -> str:
    """A text that can't steer a terminal: it may be from a log or from a file of anybody's."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
