"""Runs the examination of this node in a separate process, which may hang without harm."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.doctor.facts import DoctorFacts, Host, Owners
from rbln_supervisor.ctl.client import Session, UnreachableError, UnreadableAnswerError
from rbln_worker.contract.version import VERSION

WITHIN_S: Final = 6.0
"""Time of each section (seconds); all sections run at once."""
_GRACE_S: Final = 4.0
"""Time for the start of Python, and for its end (seconds)."""
_KILL_TIMEOUT_S: Final = 1.0
_MAX_BYTES: Final = 64 * 1024 * 1024
_STATUS_TIMEOUT_S: Final = 5.0


class Overrides(NamedTuple):
    """Options from the command line, which override those of the last supervisor."""

    run_dir: Path
    config_file: Path | None = None
    kubelet_dir: Path | None = None
    device_plugins_dir: Path | None = None
    host_root: Path | None = None


def gather_facts(
    where: Overrides, *, listing: bool = False, within_s: float = WITHIN_S
) -> DoctorFacts:
    """Return all facts, in bounded time; ``listing``: also the files for a bundle."""
    status, unreachable = None, ""
    process = _start_examination(where, listing=listing, within_s=within_s)
    try:
        with Session(where.run_dir) as session:
            reply = session.send_request(Status(), _STATUS_TIMEOUT_S)
        if isinstance(reply, StatusReply):
            status = reply.status
        else:
            unreachable = "an answer to another question"
    except (UnreachableError, UnreadableAnswerError) as error:
        unreachable = str(error)
    said, errors = _read_output(process, monotonic() + within_s + _GRACE_S)
    host, failures, failed = _decode_sections(said)
    return DoctorFacts(
        host=host,
        within_s=within_s,
        version=VERSION,
        status=status,
        unreachable=unreachable,
        errors=failures,
        failed=failed or ("" if said else f"it ended without a word: {errors[-300:]}"),
    )


def find_owners(where: Overrides, name: str, *, within_s: float = WITHIN_S) -> Owners:
    """Return the owners of a name, if they can be found in bounded time."""
    process = _start_examination(where, name=name, within_s=within_s)
    said, _ = _read_output(process, monotonic() + within_s + _GRACE_S)
    try:
        return msgspec.json.decode(said, type=dict[str, Owners]).get("owners", Owners())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Owners()


def _start_examination(
    where: Overrides, *, within_s: float, listing: bool = False, name: str | None = None
) -> subprocess.Popen[bytes]:
    told = {
        "run_dir": os.path.abspath(where.run_dir),  # noqa: PTH100 - resolve() would read the disk
        "within_s": within_s,
        "config_file": where.config_file,
        "kubelet_dir": where.kubelet_dir,
        "device_plugins_dir": where.device_plugins_dir,
        "host_root": where.host_root,
        "listing": listing,
        "name": name,
    }
    order = msgspec.json.encode({k: v for k, v in told.items() if v is not None}, enc_hook=str)
    return subprocess.Popen(  # noqa: S603 - this program, and arguments without a shell
        [sys.executable, "-m", "rbln_supervisor.doctor", order.decode()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )


def _read_output(process: subprocess.Popen[bytes], end: float) -> tuple[bytes, str]:
    """Return the output of the process until its end, or kill it at the deadline."""
    said: dict[int, bytearray] = {}
    with selectors.DefaultSelector() as waiting:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                said[pipe.fileno()] = bytearray()
                waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map() and sum(map(len, said.values())) < _MAX_BYTES:
            ready = waiting.select(max(0.0, end - monotonic()))
            if not ready:
                break
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                said[key.fd] += piece
                if not piece:
                    waiting.unregister(key.fileobj)
    if process.poll() is None:
        # A process that waits in the kernel can't be killed, so it is not waited for.
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_TIMEOUT_S)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    out, errors = said.values()
    return bytes(out), errors.decode(errors="replace").strip()


def _decode_sections(said: bytes) -> tuple[Host, dict[str, str], str]:
    """Return the sections, the failed ones with reasons, and an error of the whole output."""
    sections: dict[str, object] = {}
    failures: dict[str, str] = {}
    for line in said.splitlines():
        try:
            part = msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # torn at the deadline
        for name, found in part.items():
            if isinstance(found, str):
                failures[name] = found
            else:
                sections[name] = found
    try:
        return msgspec.convert(sections, type=Host), failures, ""
    except msgspec.ValidationError as error:
        return Host(), failures, f"its words can't be read: {error}"
