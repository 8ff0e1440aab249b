"""The agent's state in the run directory: saved before a call, so that nothing is lost or twice."""

import logging
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.core.events.series import AgentState
from rbln_supervisor.events.agent_files import STATE_FILE
from rbln_worker.process.replace_file import replace_file

_MAX_BYTES: Final = 16 << 20
_DECODER: Final = msgspec.json.Decoder(AgentState)

log = logging.getLogger(__name__)


class StateFile:
    """The state, as it was saved last."""

    def __init__(self, run_dir: Path) -> None:
        """Read the state; a new one if there is none, or it is damaged."""
        self.state = AgentState()
        self.problem = ""
        """The reason why it was not saved."""
        self._path = run_dir / STATE_FILE
        try:
            with self._path.open("rb") as file:
                self.state = _DECODER.decode(file.read(_MAX_BYTES))
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = {"why": error}
            log.warning("state unreadable, Events of the last hour are sent again", extra=why)

    def save(self, state: AgentState) -> None:
        """Take and save a state, if it differs or the last one was not saved."""
        if state == self.state and not self.problem:
            return
        self.state, self.problem = state, ""
        try:
            replace_file(self._path, msgspec.json.encode(state))
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror}"
