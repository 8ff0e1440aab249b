"""How much memory processes have together, whoever else shares it.

PSS divides a page among all that map it, and those are the bench, too, and whatever else runs from
the same files, such as gRPC's library. What is counted here are page frames, each once, as the
kernel numbers them for root (Documentation/admin-guide/mm/pagemap.rst).
"""

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGESIZE")
_PRESENT: Final = 1 << 63
_FRAME: Final = (1 << 55) - 1


def together_kib(pids: Iterable[int]) -> tuple[int, ...]:
    """KiB of all frames that any maps, as one sample; none where we are not told their numbers."""
    frames: set[int] = set()
    for pid in pids:
        frames.update(_frames(pid))
    frames.discard(0)
    return (len(frames) * _PAGE // 1024,) if frames else ()


def _frames(pid: int) -> Iterator[int]:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with Path(f"/proc/{pid}/pagemap").open("rb") as pagemap:
            for line in maps:
                first, last = (int(end, 16) // _PAGE for end in line.split()[0].split("-"))
                pagemap.seek(first * 8)
                entries = array("Q", pagemap.read((last - first) * 8))
                yield from (entry & _FRAME for entry in entries if entry & _PRESENT)
    except OSError:
        return  # it ended, or is not ours to look at
