"""One-line results of rbln-ctl: a reload, a rescan, a validation."""

from collections.abc import Sequence

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.control.protocol import ReloadReply, RescanReply


def reload_sentence(reply: ReloadReply) -> str:
    """Return one sentence."""
    if not is_a_change(reply):
        return f"reloaded: nothing changed, {count(reply.unchanged, 'pool')} as before"
    return (
        f"reloaded: {count(reply.added, 'pool')} added, {len(reply.removed)} removed, "
        f"{len(reply.changed)} changed, {len(reply.unchanged)} unchanged"
    )


def is_a_change(reply: ReloadReply) -> bool:
    """Return True if a reload changed a pool, or moved a device."""
    moves = reply.plan.moves if reply.plan else ()
    return bool(reply.added or reply.removed or reply.changed or moves)


def rescan_sentence(reply: RescanReply) -> str:
    """Return a sentence, then a line for each pool that changed."""
    functions = f"{reply.functions} PCI function{'' if reply.functions == 1 else 's'}"
    if not reply.changed:
        return f"rescanned: {functions}, no pool changed"
    head = f"rescanned: {functions}, {count(reply.changed, 'pool')} changed"
    return "\n".join([head, *(f"  ~ {plain(name)}" for name in reply.changed)])


def validation_text(file: str, config: NodeConfig) -> str:
    """Return a sentence, then a line for each pool."""
    lines = [
        f"  {pool.spec.name} ({pool.spec.device_type}, {count(pool.selectors, 'selector object')})"
        for pool in config.pools
    ]
    return "\n".join([f"{plain(file)}: valid, {count(config.pools, 'pool')}", *lines])


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = max(0, int(seconds))
    days, hours = divmod(whole // 3600, 24)
    minutes, rest = divmod(whole % 3600, 60)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (value, _) in enumerate(units) if value), 3)
    return " ".join(f"{value} {unit}" for value, unit in units[first : first + 2])


def time_ago(since: float | None, now: float) -> str:
    """Return the time since ``since``, both in seconds since the epoch; empty if it is None."""
    return "" if since is None else f"{duration_text(now - since)} ago"


def count(things: Sequence[object], noun: str) -> str:
    """Return ``1 pool``, ``2 pools``."""
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def plain(text: str) -> str:
    """Return a text without control characters, because it may come from any log or file."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
