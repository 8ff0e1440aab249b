"""One life of the machine: boot, one command, its output as it comes, its exit status."""

import os
import select
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e.kernel.vm import machine
from tests.e2e.kernel.vm.emulator import Emulator
from tests.e2e.kernel.vm.image import Image

SHARE: Final = "/run/vm/share"
"""Where the guest finds the folder that it shares with the host."""

_CONSOLE_LINES: Final = 25
_GUEST_FILES: Final = 65536
"""Descriptors that a process may have; the kernel's first process has 1024 otherwise."""


class Crashed(Exception):
    """The command did not run to its end; the text says what was last seen."""


def run(
    emulator: Emulator,
    image: Image,
    command: Sequence[str],
    *,
    share: Path,
    folder: Path,
    environment: Mapping[str, str],
    deadline_s: float,
) -> int:
    """Run a command of the host's in the VM; its exit code. Crashed where it has none.

    Its output goes to our standard output. What it writes is lost, except below SHARE.
    """
    status = share / "status"
    status.unlink(missing_ok=True)
    (share / "start").write_text(_start(command, folder, environment))
    with tempfile.TemporaryDirectory(prefix="rbln-vm-") as place, ExitStack() as ends:
        console = Path(place, "console")
        complaints = ends.enter_context(Path(place, "qemu").open("w+"))
        monitor, port = socket.socketpair()
        ends.callback(monitor.close)
        ends.callback(port.close)
        reader, writer = os.pipe()
        ends.callback(os.close, reader)
        wires = machine.Wires(console, writer, monitor.fileno(), port.fileno(), share)
        process = subprocess.Popen(
            # Nothing outlives whoever started it, even where that is killed.
            (
                "setpriv",
                "--pdeathsig",
                "KILL",
                *emulator.command,
                *machine.arguments(
                    image.kernel,
                    image.initramfs,
                    wires,
                    network=not emulator.without_network,
                    switch=not emulator.without_switch,
                ),
            ),
            stdin=subprocess.DEVNULL,
            stdout=complaints,
            stderr=complaints,
            pass_fds=(writer, monitor.fileno(), port.fileno()),
        )
        try:
            os.close(writer)
            in_time = _relay(reader, monotonic() + deadline_s)
        finally:
            process.kill()
            process.wait()
        if in_time and status.exists() and (code := status.read_text().strip()):
            return int(code)
        complaints.seek(0)
        words = console.read_text(errors="replace") if console.exists() else ""
        why = "the VM ended by itself" if in_time else f"not within {deadline_s:.0f} s"
        raise Crashed("\n".join([why, complaints.read(), *words.splitlines()[-_CONSOLE_LINES:]]))


def _relay(reader: int, end: float) -> bool:
    """Print what comes until QEMU has ended; False where that takes too long."""
    while (left := end - monotonic()) > 0:
        if not select.select([reader], [], [], left)[0]:
            break
        data = os.read(reader, 65536)
        if not data:  # QEMU held the only other end
            return True
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return False


def _start(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """The script that is the guest's first process once its root is ours."""
    return "\n".join(
        (
            *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
            "for port in /sys/class/virtio-ports/*; do",
            '    [ "$(cat $port/name)" = output ] && output=/dev/${port##*/}',
            "done",
            f"ulimit -n {_GUEST_FILES}",
            f"cd {shlex.quote(str(folder))}",
            f"{shlex.join(command)} </dev/null >$output 2>&1",
            f"echo $? >{SHARE}/status",
            "/run/vm/busybox poweroff -f",
        )
    )
