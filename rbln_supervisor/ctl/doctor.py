"""Runs the examination of this node in a separate process, which may hang without harm."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.core.doctor.status_checks import all_problems
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import request_reply
from rbln_supervisor.ctl.command import CommandError
from rbln_supervisor.doctor.examination import (
    SECTIONS,
    ExamineRequest,
    Owners,
    SectionResult,
)
from rbln_supervisor.options import Options, last_options
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.contract.version import VERSION

TIMEOUT_S: Final = 10.0
"""Time of the examination, with the start of Python (seconds)."""
_KILL_TIMEOUT_S: Final = 1.0


class Diagnosis(NamedTuple):
    """The problems of a node, and what they were found by."""

    problems: tuple[Problem, ...]
    status: NodeStatus | None
    unreachable: str | None
    """Reason why there is no status."""
    files: Mapping[str, str]
    """Texts for a support bundle."""


def diagnose_node(options: Options, *, listing: bool = False) -> Diagnosis:
    """Return all problems, in bounded time; ``listing``: also the files for a bundle."""
    process = _start_process()  # Python starts while the supervisor answers
    status, unreachable = None, None
    try:
        status = request_reply(options.run_dir, Status(), StatusReply).status
    except CommandError as error:
        unreachable = "; ".join(error.lines)
    lines, failure = _run_process(process, ExamineRequest(options, unreachable, listing))
    results = {one.section: one for one in _decode_results(lines)}
    problems = [problem for one in results.values() for problem in one.problems]
    if missing := [section for section in SECTIONS if section not in results]:
        others = (f"not examined after it: {', '.join(missing[1:])}",) if missing[1:] else ()
        problems.append(msgspec.structs.replace(failure, subject=missing[0], evidence=others))
    files = results["files"].files if "files" in results else {}
    return Diagnosis(all_problems(status, problems, VERSION), status, unreachable, files)


def find_owners(run_dir: Path, name: str) -> Owners:
    """Return the owners of a name, if they can be found in bounded time."""
    request = ExamineRequest(last_options(run_dir), name=name)
    lines, _ = _run_process(_start_process(), request)
    try:
        return msgspec.json.decode(b"".join(lines[:1]), type=Owners)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Owners()


def _start_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "rbln_supervisor.doctor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )


def _run_process(
    process: subprocess.Popen[bytes], request: ExamineRequest
) -> tuple[list[bytes], Problem]:
    """Return the lines of the process, and the problem if some are missing.

    It is killed at the deadline.
    """
    encoded = msgspec.json.encode(request, enc_hook=str)
    try:
        out, errors = process.communicate(encoded, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as late:
        os.killpg(process.pid, signal.SIGKILL)
        # A process that waits in the kernel can't be killed, so it is not waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_KILL_TIMEOUT_S)
        text = f"no answer within {TIMEOUT_S:g} s: something there hangs"
        return (late.output or b"").splitlines(), make_problem(Code.CHECK_TIMED_OUT, text)
    last = errors.decode(errors="replace").strip()[-300:]
    return out.splitlines(), make_problem(Code.CHECK_FAILED, f"the examination ended: {last}")


def _decode_results(lines: list[bytes]) -> Iterator[SectionResult]:
    for line in lines:
        # The last line may be torn at the deadline.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield msgspec.json.decode(line, type=SectionResult)
