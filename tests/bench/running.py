"""The bench as a process, as scripts/bench starts it."""

import os
import subprocess
import sys

from tests.sim.processes import MARK
from tests.sim.stack import REPOSITORY


def begun(*arguments: str, mark: str = "bench") -> "subprocess.Popen[str]":
    """Started; its pid stays that of the bench. ``mark`` is in the environment of all below it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "GRPC_VERBOSITY": "ERROR", MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", code: int) -> tuple[str, str]:
    """What it wrote to both outputs; it has to end with this exit code."""
    with process:
        out, error = process.communicate(timeout=280)
    assert process.returncode == code, f"{out}\n{error[-20_000:]}"
    return out, error
