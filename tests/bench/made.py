"""What a run was made of: commit, date, Python, CPUs."""

import os
import platform
import subprocess
from datetime import UTC, datetime

from tests.bench.values import Made
from tests.sim.stack import REPOSITORY


def made(*, quick: bool, against: str = "") -> Made:
    """Of this run."""
    return Made(
        commit=_commit(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        python=platform.python_version(),
        cpus=len(os.sched_getaffinity(0)),
        quick=quick,
        against=against,
    )


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
