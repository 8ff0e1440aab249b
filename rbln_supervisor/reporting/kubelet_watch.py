"""Watches the kubelet's folder for the status; workers watch it themselves, to register again."""

import logging
from collections.abc import Callable
from pathlib import Path

from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.host.inotify import PathWatch
from rbln_worker.process.file_identity import file_identity

log = logging.getLogger(__name__)


class KubeletSocketWatch:
    """State of the kubelet's socket, and the number of kubelet restarts."""

    def __init__(self, device_plugins: Path, note: Callable[[str, str], None]) -> None:
        """``note`` records an event of the kubelet, and the evidence for it."""
        self._record_event = note
        self._socket = device_plugins / "kubelet.sock"
        self._identity: tuple[int, int, int] | None = None
        self._known = False
        self._problem = ""
        self.restarts = 0
        try:
            self._watch: PathWatch | None = PathWatch((self._socket.parent,))
        except OSError as error:  # fs.inotify.max_user_instances
            self._watch = None
            self._problem = f"no inotify for the kubelet's folder ({error.strerror})"
            log.warning(self._problem)
        self._check_socket()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``process_events`` has work."""
        return (self._watch.fileno(),) if self._watch else ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Problems for the status."""
        if self._problem:
            return (make_problem(Code.INOTIFY_EXHAUSTED, self._problem),)
        if self._identity is None:
            text = (
                f"no kubelet: {self._socket} is not there (is --device-plugins-dir right?); "
                "pools register as soon as it is"
            )
            return (make_problem(Code.KUBELET_SOCK_MISSING, text, str(self._socket)),)
        return ()

    def process_events(self) -> None:
        """Handle changes in the folder."""
        if self._watch is not None and self._watch.drain():
            self._check_socket()

    def _check_socket(self) -> None:
        before, self._identity = self._identity, file_identity(self._socket)
        if self._identity == before:
            return
        if self._identity is None:
            self._record_event("gone", f"{self._socket} is not there any more")
            return
        if self._known:
            self.restarts += 1
            log.info("the kubelet created its socket again", extra={"restarts": self.restarts})
            self._record_event("restarted", f"{self._socket} was created again")
        self._known = True
