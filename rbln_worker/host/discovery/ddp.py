"""The DDP package that is loaded into a network adapter, read with Intel's ddptool.

Each call is a process, which is killed after a time-out; all calls together have a time-out, too.
Child processes stay in the process group of the discovery, which is killed as a whole.
"""

import contextlib
import os
import subprocess
from time import monotonic
from typing import Final

import msgspec

from rbln_worker.contract.problem import Code, Problem, make_problem

TOOL: Final = "ddptool"
CALL_TIMEOUT_S: Final = 2.0
"""Maximum seconds of one call."""
TOTAL_TIMEOUT_S: Final = 4.0
"""Maximum seconds of all calls of a discovery."""
MAX_PROBLEMS: Final = 8
"""Maximum number of reported problems; most affect all devices."""
_ANSWER_BYTES: Final = 65536
_NONE: Final = 8
"""The exit code for: supported, and no package is loaded."""


class _Package(msgspec.Struct, frozen=True):
    name: str = ""


class _Adapter(msgspec.Struct, frozen=True):
    package: _Package = msgspec.field(name="DDPpackage", default=_Package())


class _Answer(msgspec.Struct, frozen=True):
    adapter: _Adapter = msgspec.field(name="DDPInventory")


_ANSWER: Final[msgspec.json.Decoder[_Answer]] = msgspec.json.Decoder(_Answer)


class DdpTool:
    """A client of the tool for one discovery."""

    def __init__(
        self, tool: str = TOOL, *, call_s: float = CALL_TIMEOUT_S, all_s: float = TOTAL_TIMEOUT_S
    ) -> None:
        self._tool = tool
        self._call_s = call_s
        self._until = monotonic() + all_s
        self._missing = False
        self.problems: list[Problem] = []

    def loaded_package(self, bdf: str) -> str:
        """Return the name of the loaded package; empty if there is none."""
        left_s = min(self._call_s, self._until - monotonic())
        if self._missing:
            return ""
        if left_s <= 0:
            self._add_problem(f"{self._tool}: not every device could be asked in time")
            return ""
        try:
            return _package_name(self._run_tool(bdf, left_s))
        except FileNotFoundError:
            self._missing = True
            self._add_problem(f"{self._tool}: not found, so that no device has a DDP profile")
        except OSError as error:
            self._add_problem(f"{self._tool}: {error.strerror}")
        except subprocess.TimeoutExpired:
            self._add_problem(f"{self._tool} -s {bdf}: no answer within {left_s:.1f} s")
        except ValueError as error:
            self._add_problem(f"{self._tool} -s {bdf}: {error}")
        return ""

    def _run_tool(self, bdf: str, within_s: float) -> bytes:
        # A file instead of a pipe: a process that the tool leaves behind could hold a pipe open.
        out = os.memfd_create("ddptool", os.MFD_CLOEXEC)
        try:
            process = subprocess.Popen(  # noqa: S603
                [self._tool, "-l", "-a", "-j", "-s", bdf],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
            try:
                code = process.wait(within_s)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)  # SIGKILL does not end a wait for hardware
                raise
            if code == _NONE:
                return b""
            if code:
                raise ValueError(f"exit code {code}")
            return os.pread(out, _ANSWER_BYTES, 0)
        finally:
            os.close(out)

    def _add_problem(self, text: str) -> None:
        problem = make_problem(Code.FACTS_UNREADABLE, text)
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def _package_name(answer: bytes) -> str:
    if not answer:
        return ""
    try:
        name = _ANSWER.decode(answer).adapter.package.name
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"unreadable answer ({error})") from error
    return name if name.isprintable() else ""
