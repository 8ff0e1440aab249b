"""The vendor's tool: its paths, and a call in a session of its own, with limits."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rbln_worker.core.dra.rsd import RsdError

LOCK_FILE: Final = "/var/run/rbln-rsd-group.lock"
"""The lock file of the vendor's programs, on the host."""
DEFAULT_NODE: Final = "dev/rsd0"
"""The node of group 0, below the root."""
GROUP_FILE: Final = "sys/class/rebellions/rsd/rsd_group"
"""The driver's list of groups, below the root."""
TOOL_PATHS: Final = (
    "usr/bin/rbln-smi",
    "usr/local/bin/rbln-smi",
    "host/usr/bin/rbln-smi",
    "host/usr/local/bin/rbln-smi",
    "run/rbln/driver/usr/bin/rbln-smi",
)
"""Paths of the vendor's tool, below the root, best first: of the host, then those in a container.

Manifests mount the host's /usr at /host/usr.
"""
MAX_OUTPUT: Final = 1 << 20
"""Maximum bytes of the output; a longer one is an error."""
_REAP_TIMEOUT_S: Final = 1.0
_CHUNK: Final = 1 << 16
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def find_tool(root: Path, lock: Path) -> Path | None:
    """Return the vendor's tool; None without it, its lock, the RSD device or the list of groups.

    systemd and containers may forbid all of them; access(2) knows (EROFS, device cgroups). In a
    container, where the host's /usr is at /host/usr, the host's lock file has to be mounted: a file
    of our own would lock nobody out.
    """
    paths = TOOL_PATHS if lock.exists() else TOOL_PATHS[:2]
    can_lock = os.access(lock if lock.exists() else lock.parent, os.W_OK)
    can_read = os.access(root / GROUP_FILE, os.R_OK)
    if not (can_lock and can_read and os.access(root / DEFAULT_NODE, os.R_OK | os.W_OK)):
        return None
    return next((root / one for one in paths if os.access(root / one, os.X_OK)), None)


async def run_tool(tool: Path, arguments: Sequence[str], timeout_s: float) -> None:
    """Run a program; raise RsdError if its exit status is not 0, with its output."""
    words = " ".join((tool.name, *arguments))
    try:
        process = await asyncio.create_subprocess_exec(
            tool,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise RsdError(f"{words}: {error.strerror}") from error
    status: int | None = None
    try:
        async with asyncio.timeout(timeout_s):
            if (output := await _read_bounded(process)) is not None:
                status = await process.wait()
    except TimeoutError as error:
        raise RsdError(f"{words}: not finished within {timeout_s:g} s") from error
    finally:
        if status is None:
            await _kill_group(process)
    if output is None:
        raise RsdError(f"{words}: more than {MAX_OUTPUT} bytes of output")
    if status:
        said = " ".join(output.decode(errors="replace").split())[:200]
        raise RsdError(f"{words}: exit status {status}{f': {said}' if said else ''}")


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
