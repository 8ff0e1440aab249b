"""Files of rbln-agent in the run directory: its state, and its problem for the status."""

import os
from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.problem import Problem

STATE_FILE: Final = "agent.state"
PROBLEM_FILE: Final = "agent.problem"
CONDITION_FILE: Final = "agent.condition"
ASIDE_SUFFIX: Final = ".new"
FILES: Final = frozenset(
    name + suffix
    for name in (STATE_FILE, PROBLEM_FILE, CONDITION_FILE)
    for suffix in ("", ASIDE_SUFFIX)
)
_MAX_PROBLEM_BYTES: Final = 64 * 1024
_PROBLEM: Final = msgspec.json.Decoder(Problem)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in one step. Raises OSError."""
    aside = path.with_name(f"{path.name}{ASIDE_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
        file.write(data)
    aside.replace(path)


def read_problem(run_dir: Path) -> Problem | None:
    """Return the agent's problem; None if it has none, or there is no agent."""
    try:
        with (run_dir / PROBLEM_FILE).open("rb") as file:
            return _PROBLEM.decode(file.read(_MAX_PROBLEM_BYTES))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def write_problem(run_dir: Path, problem: Problem | None) -> None:
    """Write the agent's problem, or remove it. Raises OSError."""
    if problem is None:
        (run_dir / PROBLEM_FILE).unlink(missing_ok=True)
    else:
        replace_file(run_dir / PROBLEM_FILE, msgspec.json.encode(problem))
