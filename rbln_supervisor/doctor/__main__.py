"""The program: reads a request from standard input, and writes a line of JSON for each section."""

import sys
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from rbln_supervisor.doctor import bundle_files, dra, hardware, host, names, run_dir
from rbln_supervisor.doctor.examination import SECTIONS, ExamineRequest, SectionResult
from rbln_supervisor.options import Options, decode_path
from rbln_worker.contract.problem import Code, Problem, make_problem

Check = Callable[[Options, str | None], Iterable[Problem]]
"""Arguments: the options, and the reason why the supervisor did not answer."""

_CHECKS: Final[tuple[Check, ...]] = (
    lambda options, unreachable: run_dir.check_run_dir(options.run_dir, unreachable),
    lambda options, _: (*host.check_kubelet(options), *dra.check_dra(options)),
    lambda options, _: host.check_host_files(options),
    lambda options, _: hardware.check_configuration(options),
    lambda options, _: hardware.check_hardware(options),
)
"""In the order of ``SECTIONS``."""


def main() -> None:
    """Examine the node."""
    raw = sys.stdin.buffer.read()
    request = msgspec.json.decode(raw, type=ExamineRequest, dec_hook=decode_path)
    options = request.options
    if request.name is not None:
        _write_line(names.device_owners(options.host_root, request.name))
        return
    for section, check in zip(SECTIONS, _CHECKS, strict=True):
        try:
            problems = tuple(check(options, request.unreachable))
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
