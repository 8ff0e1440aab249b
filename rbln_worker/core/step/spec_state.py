"""The CDI spec of a pool: the devices in it, and the need for it."""

from collections.abc import Mapping
from typing import NamedTuple

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation import cdi
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.step.effects import WriteSpec


class _SpecWrite(NamedTuple):
    name: str
    """The file name; empty if no device needs a spec."""
    answers: Mapping[DeviceId, DeviceAllocation]


class SpecState:
    """The pool's CDI spec on the host, as far as this worker knows."""

    def __init__(self, mode: cdi.Mode) -> None:
        self.mode = mode
        self.problem = ""
        """The reason why it can't be written."""
        self.version = 0
        """A number that changes whenever the result of ``device_problem`` may change."""
        self._is_held = self._is_claimed = False
        self._written = _SpecWrite("", {})
        """The spec that claims refer to."""
        self.write: _SpecWrite | None = None
        """The spec that is being written."""

    def uses_cdi(self, pool: PoolSpec) -> bool:
        """Return True if the pool's devices are claimed from the runtime."""
        return self.mode != "off" and cdi.unsupported_reason(pool) is None

    def needs_spec(self, pool: PoolSpec) -> bool:
        """Return True if a spec is required, such as for containers with its names."""
        claimed = self.mode != "off" or self._is_claimed
        return claimed and cdi.unsupported_reason(pool) is None

    def take_use(self, *, is_held: bool, is_claimed: bool) -> bool:
        """Take the use of the spec by pods; return True if it has changed.

        Args:
            is_held: True if a pod holds one of the pool's devices, or this is unknown: an existing
                spec stays.
            is_claimed: True if a pod was given the CDI name of one of them: a spec is required.
        """
        before = self._is_held, self._is_claimed
        self._is_held, self._is_claimed = is_held, is_claimed
        return before != (is_held, is_claimed)

    def begin_write(
        self, pool: PoolSpec, answers: Mapping[DeviceId, DeviceAllocation]
    ) -> WriteSpec | None:
        """Begin to write a spec with these devices; None if none of them needs one."""
        text = cdi.spec_text(pool, answers.values())
        name = cdi.file_names(pool)[pool.device_type]
        self.write = _SpecWrite(name if text is not None else "", answers)
        if text is not None:
            return WriteSpec(name, text)
        self.end_write("")
        return None

    def end_write(self, problem: str) -> None:
        """Take the result of the write."""
        write, self.write = self.write, None
        if write is None:
            return
        before = self._written, self.problem
        if not problem:
            self._written = write
        elif self._written.name != write.name:
            self._written = _SpecWrite("", {})
        self.problem = problem
        self.version += (self._written, self.problem) != before

    def device_problem(self, pool: PoolSpec, answer: DeviceAllocation) -> str:
        """Return the reason why a device can't be claimed although it has to be; else empty."""
        if not self.uses_cdi(pool) or not cdi.has_edits(answer):
            return ""
        there = self._written.answers.get(answer.id)
        if there and (there.nodes, there.mounts) == (answer.nodes, answer.mounts):
            return ""
        return self.problem or "it is not in the pool's CDI spec yet"

    def settle_spec(self, pool: PoolSpec) -> bool:
        """Return True if the spec stays on the host; forget it if not."""
        if self.needs_spec(pool) and (self._written.name or self.problem):
            # A spec of an earlier worker is better than none while the new one can't be written.
            return True
        if self._is_held:
            return True
        self._written = _SpecWrite("", {})  # a removed spec is not restored
        return False
