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
from rbln_supervisor.core.doctor.examination import (
    SECTIONS,
    ExamineRequest,
    Owners,
    SectionResult,
)
from rbln_supervisor.core.doctor.status_checks import all_problems
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl.client import Session, UnreachableError, UnreadableAnswerError
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.contract.version import VERSION

TIMEOUT_S: Final = 10.0
"""Time of the examination, with the start of Python (seconds)."""
_STATUS_TIMEOUT_S: Final = 5.0
_KILL_TIMEOUT_S: Final = 1.0


class Overrides(NamedTuple):
    """Options from the command line, which override those of the last supervisor."""

    run_dir: Path
    config_file: Path | None = None
    kubelet_dir: Path | None = None
    device_plugins_dir: Path | None = None
    host_root: Path | None = None


class Diagnosis(NamedTuple):
    """The problems of a node, and what they were found by."""

    problems: tuple[Problem, ...]
    status: NodeStatus | None
    unreachable: str | None
    """Reason why there is no status."""
    files: Mapping[str, str]
    """Texts for a support bundle."""


def diagnose_node(where: Overrides, *, listing: bool = False) -> Diagnosis:
    """Return all problems, in bounded time; ``listing``: also the files for a bundle."""
    process = _start_process()  # Python starts while the supervisor answers
    status, unreachable = _request_status(where.run_dir)
    request = ExamineRequest(str(where.run_dir), unreachable, _override_paths(where), listing)
    lines, failure = _run_process(process, request)
    results = {one.section: one for one in _decode_results(lines)}
    problems = [problem for one in results.values() for problem in one.problems]
    problems += _missing_sections(results, failure)
    files = results["files"].files if "files" in results else {}
    return Diagnosis(all_problems(status, problems, VERSION), status, unreachable, files)


def find_owners(where: Overrides, name: str) -> Owners:
    """Return the owners of a name, if they can be found in bounded time."""
    request = ExamineRequest(str(where.run_dir), name=name)
    lines, _ = _run_process(_start_process(), request)
    try:
        return msgspec.json.decode(b"".join(lines[:1]), type=Owners)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Owners()


def _override_paths(where: Overrides) -> dict[str, str]:
    paths = where._asdict()
    if (folder := where.kubelet_dir) is not None:
        paths |= {
            "pod_resources_dir": folder / "pod-resources",
            "plugins_registry_dir": folder / "plugins_registry",
        }
    return {name: str(path) for name, path in paths.items() if path is not None}


def _request_status(run_dir: Path) -> tuple[NodeStatus | None, str | None]:
    try:
        with Session(run_dir) as session:
            reply = session.send_request(Status(), _STATUS_TIMEOUT_S)
    except (UnreachableError, UnreadableAnswerError) as error:
        return None, str(error)
    if isinstance(reply, StatusReply):
        return reply.status, None
    return None, "a reply to another request"


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
    try:
        out, errors = process.communicate(msgspec.json.encode(request), timeout=TIMEOUT_S)
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


def _missing_sections(results: Mapping[str, SectionResult], failure: Problem) -> Iterator[Problem]:
    missing = [section for section in SECTIONS if section not in results]
    if missing:
        others = (f"not examined after it: {', '.join(missing[1:])}",) if missing[1:] else ()
        yield msgspec.structs.replace(failure, subject=missing[0], evidence=others)
