"""Files of rbln-agent in the run directory: its state, and its problem for the status."""

from pathlib import Path
from typing import Final

import msgspec

from rbln_worker.contract.problem import Problem
from rbln_worker.process.replace_file import ASIDE_SUFFIX, replace_file

STATE_FILE: Final = "agent.state"
PROBLEM_FILE: Final = "agent.problem"
FILES: Final = frozenset(
    name + suffix for name in (STATE_FILE, PROBLEM_FILE) for suffix in ("", ASIDE_SUFFIX)
)
_MAX_PROBLEM_BYTES: Final = 64 * 1024
_PROBLEM: Final = msgspec.json.Decoder(Problem)


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
