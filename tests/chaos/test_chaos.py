"""A short run of what ``scripts/chaos`` does for an hour, each time with a new seed."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.sim.stack import REPOSITORY

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

MINUTES = "0.25"


def chaos(*arguments: str) -> str:
    """Run it in a process of its own: it goes into namespaces. What it wrote, if all held."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "GRPC_VERBOSITY": "ERROR"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-20_000:]}"
    return done.stdout


def test_whatever_breaks_disturbs_nobody_else() -> None:
    seed = secrets.randbelow(1_000_000)
    print(f"again: scripts/chaos --seed {seed}")
    told = chaos("--minutes", MINUTES, "--seed", f"{seed}")
    assert "every invariant held" in told
