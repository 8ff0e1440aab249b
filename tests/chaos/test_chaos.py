"""A short run of what ``scripts/chaos`` does for an hour: with a seed, and with a new one."""

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


@pytest.mark.parametrize("seed", [20261124, None], ids=["a seed", "a new seed"])
def test_whatever_breaks_disturbs_nobody_else(seed: int | None) -> None:
    drawn = secrets.randbelow(1_000_000) if seed is None else seed
    print(f"again: scripts/chaos --seed {drawn}")
    told = chaos("--minutes", MINUTES, "--seed", f"{drawn}")
    assert "every invariant held" in told
