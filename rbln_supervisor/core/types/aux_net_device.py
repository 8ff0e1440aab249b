"""Scalable functions of network functions: each auxiliary device a device."""

from collections.abc import Iterable, Iterator
from typing import Final

from rbln_supervisor.core.types.kind import Candidate, Kind
from rbln_worker.contract.device import Device, DeviceId, PciFunction, Subfunction


def candidates(function: PciFunction, subfunctions: Iterable[Subfunction]) -> Iterator[Candidate]:
    """The sub-functions of a function."""
    refusal = "no driver is bound to its PCI function" if function.driver is None else None
    for subfunction in subfunctions:
        yield Candidate(Device(DeviceId(subfunction.name), function, subfunction), refusal)


KIND: Final = Kind(
    base_class=0x02,
    selectors=(
        *("vendors", "devices", "drivers", "auxTypes"),
        *("pfNames", "rootDevices", "linkTypes", "isRdma", "needVhostNet"),
    ),
    candidates=candidates,
)
