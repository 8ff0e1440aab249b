"""What the tests saw, written inside of the VM and shown outside of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "seen.jsonl"


class Seen(msgspec.Struct, frozen=True):
    """One line of the table."""

    tried: str
    seen: str
    seconds: float


def note(share: Path, row: Seen) -> None:
    """Keep a line."""
    with (share / FILE).open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")


def read(share: Path) -> tuple[Seen, ...]:
    """The lines that were kept."""
    file = share / FILE
    lines = file.read_bytes().splitlines() if file.exists() else ()
    return tuple(msgspec.json.decode(line, type=Seen) for line in lines)


def text(rows: Iterable[Seen], *, kernel: str, total_s: float) -> str:
    """A table in Markdown."""
    head = (f"| Linux {kernel} | seen | seconds |", "|---|---|---:|")
    body = (f"| {row.tried} | {row.seen} | {row.seconds:.2f} |" for row in rows)
    return "\n".join((*head, *body, f"| all of it, boot included | | {total_s:.1f} |", ""))
