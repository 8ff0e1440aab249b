"""The program: reads a request from standard input, and writes a line of JSON for each section."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from rbln_supervisor.doctor import bundle_files, dra, hardware, host, names, run_dir
from rbln_supervisor.doctor.examination import SECTIONS, ExamineRequest, SectionResult
from rbln_supervisor.options import Options, decode_path
from rbln_worker.contract.problem import Code, Problem, make_problem

Check = Callable[[Options], Iterable[Problem]]

_CHECKS: Final[tuple[Check, ...]] = (
    *(host.check_kubelet, dra.check_dra, host.check_limits),
    *(hardware.check_configuration, hardware.check_hardware),
)
"""In the order of ``SECTIONS``, after the run directory."""


def main() -> None:
    """Examine the node."""
    raw = sys.stdin.buffer.read()
    request = msgspec.json.decode(raw, type=ExamineRequest, dec_hook=decode_path)
    options = request.options
    if request.name is not None:
        _write_line(names.device_owners(options.host_root, request.name))
        return
    first: Check = partial(run_dir.check_run_dir, unreachable=request.unreachable)
    for section, check in zip(SECTIONS, (first, *_CHECKS), strict=True):
        try:
            problems = tuple(check(options))
        except Exception as error:  # noqa: BLE001 - the other sections are examined as well
            evidence = (f"{type(error).__name__}: {error}",)
            text = "it could not be examined"
            problems = (make_problem(Code.CHECK_FAILED, text, section, evidence),)
        _write_line(SectionResult(section, problems))
    if request.listing:
        _write_line(SectionResult("files", files=bundle_files.list_files(options)))


def _write_line(value: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
