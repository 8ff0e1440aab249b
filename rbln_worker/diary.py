"""What a worker remembers of its past, with the clock that its entries need."""

from collections.abc import Mapping
from datetime import UTC, datetime

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.history import REASON_MOST, Happening
from rbln_worker.core import history


class Diary:
    """Notes transitions, and tells them again."""

    def __init__(self) -> None:
        self._memory = history.Memory()
        self._listed = False
        self._begun_with: frozenset[DeviceId] | None = None

    def after(self, number: int) -> tuple[Happening, ...]:
        """What happened after a number, as far as it is remembered."""
        return history.after(self._memory, number)

    def judged(
        self,
        before: Mapping[DeviceId, Verdict],
        after: Mapping[DeviceId, Verdict],
        *,
        devices: int,
    ) -> None:
        """Note what became of those of a pool's devices whose verdicts are others."""
        if self._begun_with is None:
            self._begun_with = frozenset(after)
        happened = history.transitions(before, after, _now(), self._begun_with)
        self._memory = history.remember(self._memory, happened, devices=devices)

    def stands(self, *, listed: bool, way: str, reason: str) -> None:
        """Note whether the kubelet lists the pool, by which way, and if it does not, why."""
        if listed == self._listed:
            return
        self._listed = listed
        word = history.REGISTERED if listed else history.UNREGISTERED
        told = Happening(0, _now(), word, source=way, reason=reason[:REASON_MOST])
        self._memory = history.remember(self._memory, [told], devices=0)


def _now() -> float:
    """Seconds since the epoch, as verdicts have them."""
    return round(datetime.now(UTC).timestamp(), 3)
