"""The program: reads a request from standard input, and writes a line of JSON for each section."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.doctor.examination import SECTIONS, ExamineRequest, SectionResult
from rbln_supervisor.doctor import bundle_files, dra, hardware, host, names, run_dir
from rbln_supervisor.options import Options
from rbln_worker.contract.problem import Code, Problem, make_problem

Check = Callable[[ExamineRequest, Options], Iterable[Problem]]

_CHECKS: Final[tuple[Check, ...]] = (
    lambda request, options: run_dir.check_run_dir(options.run_dir, request.unreachable),
    lambda _, options: (*host.check_kubelet(options), *dra.check_dra(options)),
    lambda _, options: host.check_host_files(options),
    lambda _, options: host.check_limits(options.run_dir),
    lambda _, options: hardware.check_configuration(options),
    hardware.check_hardware,
)
"""In the order of ``SECTIONS``."""


def main() -> None:
    """Examine the node."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=ExamineRequest)
    options = run_dir.last_options(Path(request.run_dir))
    overrides = {name: Path(path) for name, path in request.paths.items()}
    options = msgspec.structs.replace(options, **overrides)
    if request.name is not None:
        _write_line(names.device_owners(options.host_root, request.name))
        return
    for section, check in zip(SECTIONS, _CHECKS, strict=True):
        try:
            problems = tuple(check(request, options))
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
