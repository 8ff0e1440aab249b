"""The agent's state in the run directory: saved before a call, so that nothing is lost or twice."""

import logging
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.events.series import AgentState
from rbln_supervisor.events.agent_files import STATE_FILE, replace_file

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
