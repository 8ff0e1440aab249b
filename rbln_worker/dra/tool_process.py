"""A program of the vendor in a session of its own: with a time-out and bounded output."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_worker.core.dra.rsd import RsdFailure

MAX_OUTPUT: Final = 1 << 20
"""Maximum bytes of the output; a longer one is an error."""
_REAP_TIMEOUT_S: Final = 1.0
_CHUNK: Final = 1 << 16
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


async def run_tool(
    tool: Path, arguments: Sequence[str], timeout_s: float, *, with_errors: bool
) -> bytes | RsdFailure:
    """Run a program; return its output if its exit status is 0.

    ``with_errors``: what it writes to stderr belongs to the output, for a failure's text.
    """
    words = " ".join((tool.name, *arguments))
    try:
        process = await asyncio.create_subprocess_exec(
            tool,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if with_errors else asyncio.subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return RsdFailure(f"{words}: {error.strerror}")
    status: int | None = None
    try:
        async with asyncio.timeout(timeout_s):
            if (output := await _read_bounded(process)) is not None:
                status = await process.wait()
    except TimeoutError:
        return RsdFailure(f"{words}: not finished within {timeout_s:g} s")
    finally:
        if status is None:
            await _kill_group(process)
    if output is None:
        return RsdFailure(f"{words}: more than {MAX_OUTPUT} bytes of output")
    if status:
        said = " ".join(output.decode(errors="replace").split())[:200]
        return RsdFailure(f"{words}: exit status {status}{f': {said}' if said else ''}")
    return output


async def _read_bounded(process: asyncio.subprocess.Process) -> bytes | None:
    """Read the output to its end; None if it is too long."""
    output = bytearray()
    if process.stdout is not None:
        while part := await process.stdout.read(_CHUNK):
            output += part
            if len(output) > MAX_OUTPUT:
                return None
    return bytes(output)


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill the tool's process group; do not wait for a process that the kernel holds."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAP_TIMEOUT_S):
            await process.wait()
