"""The agent's state in the run directory: saved before a call, so that nothing is lost or twice."""

import logging
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.events.node_condition import NodeCondition
from rbln_supervisor.core.events.series import AgentState
from rbln_supervisor.events.agent_files import CONDITION_FILE, STATE_FILE
from rbln_worker.process.replace_file import replace_file

_MAX_BYTES: Final = 16 << 20
_DECODER: Final = msgspec.json.Decoder(AgentState)

log = logging.getLogger(__name__)


def load_state(run_dir: Path) -> AgentState:
    """Return the saved state; a new one if there is none, or it is damaged."""
    path = run_dir / STATE_FILE
    try:
        with path.open("rb") as file:
            return _DECODER.decode(file.read(_MAX_BYTES))
    except FileNotFoundError:
        return AgentState()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning(
            "state unreadable, Events of the last hour are sent again", extra={"why": error}
        )
        return AgentState()


def save_state(run_dir: Path, state: AgentState) -> str:
    """Save the state; return the error, or nothing."""
    try:
        replace_file(run_dir / STATE_FILE, msgspec.json.encode(state))
    except OSError as error:
        return f"{run_dir / STATE_FILE}: {error.strerror}"
    return ""


def load_condition(run_dir: Path) -> NodeCondition | None:
    """Return the node's condition that an agent has written; None if there is none."""
    try:
        with (run_dir / CONDITION_FILE).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=NodeCondition)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def save_condition(run_dir: Path, condition: NodeCondition | None) -> None:
    """Save that the node has a condition of ours, or that it has none."""
    path = run_dir / CONDITION_FILE
    try:
        if condition is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(path, msgspec.json.encode(condition))
    except OSError as error:
        log.warning("state not saved", extra={"why": f"{path}: {error.strerror}"})
