"""Matching of a device with a selector object, and the first key that does not match.

One table here has the test for each key; a device type lists its keys in their order (core/types/).
Assigning and explaining use the same tests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from rbln_supervisor.core.config.pf_ranges import FunctionSet, PfRange
from rbln_supervisor.core.config.selectors import ATTRIBUTES, SelectorObject
from rbln_worker.contract.device import Device

Test = Callable[[Device], bool]


class Mismatch(msgspec.Struct, frozen=True):
    """A mismatch: a key of a selector object that a device does not match."""

    key: str
    """Key as in the file, such as ``pfNames``."""
    wanted: tuple[str, ...]
    """Values that the object asks for, as in the file."""
    has: str
    """Value of the device; empty if it has none."""


class SelectorKey(NamedTuple):
    """The test of a key."""

    has: Callable[[Device], str]
    """Returns the device's value for people."""
    test: Callable[[Any], Test | None]
    """Compiles the key's values into a test of a device; None if the key sets no condition."""


class CompiledSelector:
    """A selector object, compiled for many devices."""

    def __init__(self, wanted: SelectorObject, keys: Iterable[str]) -> None:
        """``keys``: the keys of its device type, in their order."""
        self.wanted = wanted
        tests = (
            (key, SELECTOR_KEYS[key].test(getattr(wanted, ATTRIBUTES[key])))
            for key in keys
            if key in SELECTOR_KEYS
        )
        self._tests = tuple((key, test) for key, test in tests if test is not None)

    def matches_device(self, device: Device) -> bool:
        """Return True if the device matches the object."""
        for _, test in self._tests:  # noqa: SIM110 - all() costs a third more, measurable with ten pools
            if not test(device):
                return False
        return True

    def first_mismatch(self, device: Device) -> Mismatch | None:
        """Return the first mismatch of a device; None if it matches."""
        return next(self.all_mismatches(device), None)

    def all_mismatches(self, device: Device) -> Iterator[Mismatch]:
        """Yield all mismatches of a device."""
        for key, test in self._tests:
            if not test(device):
                yield Mismatch(key, _spell_value(self.wanted, key), SELECTOR_KEYS[key].has(device))


def selector_values(device: Device, keys: Iterable[str]) -> dict[str, str]:
    """Return the device's value for each key; empty if it has none."""
    return {key: SELECTOR_KEYS[key].has(device) for key in keys if key in SELECTOR_KEYS}


def _spell_value(wanted: SelectorObject, key: str) -> tuple[str, ...]:
    match getattr(wanted, ATTRIBUTES[key]):
        case tuple() as several:
            return tuple(map(str, several))
        case True:
            return ("true",)
        case one:
            return (str(one),)


def _one_of(has: Callable[[Device], str]) -> SelectorKey:
    """Return the test for a list of texts, one of which has to equal the device's value."""

    def test(wanted: tuple[str, ...]) -> Test | None:
        texts = frozenset(wanted) - {""}  # an empty value never matches
        return (lambda device: has(device) in texts) if wanted else None

    return SelectorKey(has, test)


def _function_of(pf: Callable[[Device], tuple[str, ...]]) -> SelectorKey:
    """Return the test for a list of PFs with ranges, one of which has to include the device.

    ``pf`` returns the names of the device's PF: it may have several interfaces.
    """

    def has(device: Device) -> str:
        index = "" if device.index is None else f"#{device.index}"
        return " or ".join(f"{name}{index}" for name in pf(device))

    def test(entries: tuple[PfRange, ...]) -> Test | None:
        functions = FunctionSet(entries)
        return (
            (lambda device: any(functions.has_function(name, device.index) for name in pf(device)))
            if entries
            else None
        )

    return SelectorKey(has, test)


def _partition_key(device: Device) -> str:
    network = device.network
    return network.pkey if network and network.link_type == "infiniband" else ""


def _vdpa_type(device: Device) -> str:
    return device.network.vdpa.kind if device.network and device.network.vdpa else ""


def _is_rdma(device: Device) -> bool:
    return device.network is not None and device.network.rdma_capable


SELECTOR_KEYS: Final[Mapping[str, SelectorKey]] = {
    "vendors": _one_of(lambda device: device.function.vendor),
    "devices": _one_of(lambda device: device.function.product),
    "drivers": _one_of(lambda device: device.function.driver or ""),
    "pciAddresses": _one_of(lambda device: device.function.bdf),
    "acpiIndexes": _one_of(lambda device: device.function.acpi_index),
    "auxTypes": _one_of(lambda device: device.subfunction.kind if device.subfunction else ""),
    "pfNames": _function_of(lambda device: device.pf_names),
    "rootDevices": _function_of(lambda device: () if device.pf is None else (device.pf,)),
    "linkTypes": _one_of(lambda device: device.network.link_type if device.network else ""),
    "ddpProfiles": _one_of(lambda device: device.network.ddp_profile if device.network else ""),
    "pKeys": _one_of(_partition_key),
    "isRdma": SelectorKey(
        lambda device: "true" if _is_rdma(device) else "false",
        lambda wanted: _is_rdma if wanted else None,
    ),
    "vdpaType": SelectorKey(
        _vdpa_type,
        lambda wanted: (lambda device: _vdpa_type(device) == wanted) if wanted else None,
    ),
}
"""By key. needVhostNet has no test: it requests a grant, and every device matches it."""
