"""A quick run of ``scripts/bench-floor``; what it finds is no test's business."""

import subprocess
import sys

import pytest

from tests.sim.stack import REPOSITORY

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def test_empty_processes_and_ours_are_measured() -> None:
    command = [sys.executable, "-m", "scripts.bench_floor", "--pools", "1"]
    done = subprocess.run(
        [*command, "--seconds", "0.5", "--settled", "0"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    _, _, *rows = done.stdout.splitlines()
    assert [row.split(" | ")[1] for row in rows] == ["empty ones", "ours, two NPUs each"]
    for row in rows:
        private, once, cpu = row.rstrip(" |").split(" | ")[2:]
        assert float(private) > 0
        assert once == "needs root" or float(once) > float(private)
        assert float(cpu) >= 0
