"""Borrowing a supervisor's standard error where that can't be."""

import asyncio
import os
import resource
from pathlib import Path

from rbln_worker.process.stderr_client import borrow_stderr


def test_without_a_lender_or_a_descriptor_what_there_is_has_to_do(tmp_path: Path) -> None:
    taken: list[int] = []

    async def scene() -> None:
        borrow_stderr(tmp_path, taken.append)
        former = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, former[1]))
        try:
            borrow_stderr(tmp_path, taken.append)  # ended its worker once (chaos, seed 68)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, former)

    asyncio.run(scene())
    assert not taken
