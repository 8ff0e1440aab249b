"""The supervisor's own events: pools, workers, pods, reloads, the kubelet and itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from rbln_supervisor.core.pod_devices import Change
from rbln_worker.process.event_file import EventFile

FILE: Final = "supervisor.events"


def event_files(run_dir: Path) -> list[Path]:
    """Return the files of events of a node: the supervisor's, and those of all pools.

    Raises:
        OSError: The run directory cannot be read.
    """
    pools = [one for one in (run_dir / "pools").iterdir() if one.suffix == ".events"]
    return [run_dir / FILE, *sorted(pools)]


class EventLog(EventFile):
    """The supervisor's file of events."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir / FILE)
        self.folder = run_dir

    def record_pods(self, changes: Iterable[Change], source: str) -> None:
        """Record devices that pods have taken or released, unless that is already recorded."""
        for device, is_held in changes:
            what = "holds" if is_held else "released"
            last = self.last.get(("pod", device.resource, device.device))
            is_known = last is not None and (last.what, last.why) == (what, device.holder)
            if not is_known and (is_held or last is not None):
                self.record_event(
                    *("pod", what),
                    pool=device.resource,
                    device=device.device,
                    source=source,
                    why=device.holder,
                )

    def record_states(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Record new states of pools, each with its reason."""
        for pool, (state, why) in states.items():
            last = self.last.get(("pool", pool, ""))
            if last is None or last.what != state:
                self.record_event("pool", state, pool=pool, why=why)
