"""The boot of the node."""

from pathlib import Path


def read_boot_id() -> str:
    """Return a UUID that is another one after each boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
