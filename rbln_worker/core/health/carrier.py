"""The carrier of a network device: its links (rtnetlink) and its InfiniBand ports (sysfs)."""

import re
from typing import Final

import msgspec

from rbln_worker.contract.device import Carrier, Device
from rbln_worker.core.allocation.host_facts import HostFacts, Text, Unread
from rbln_worker.core.health.observation import GOOD, Doubt, Observation, Unknown, one_line

SOURCE: Final = "link"

_STATE: Final = re.compile(r"[0-9]{1,2}: ([A-Z_]{1,20})")
"""The format in drivers/infiniband/core/sysfs.c: ``4: ACTIVE``."""
_GOOD: Final = frozenset({"ACTIVE", "ACTIVE_DEFER"})
_BECAUSE: Final = {
    "DOWN": "no cable, or disabled",
    "INIT": "no subnet manager has set it up",
    "ARMED": "the subnet manager has not made it active",
}
_LINK_UP: Final = "5: LinkUp"


class PortState(msgspec.Struct, frozen=True):
    """The state of an InfiniBand port, read from its files."""

    port: str
    """Device and port, as in Network.ib_ports: ``mlx5_0/1``."""
    word: str = ""
    """ACTIVE, INIT, …; empty if not known."""
    unknown: str = ""
    """The reason why the state is not known."""
    held_down: bool = False
    """True if it is a VF's port that is DOWN by policy although its cable has a carrier.

    Like an idle interface, it is set up by the CNI plugin that gives it to a pod (``ip link set PF
    vf N state auto``).
    """


def ib_reads(device: Device) -> tuple[Text, ...]:
    """Return the files with the states of its InfiniBand ports."""
    return tuple(_port_file(port, "state") for port in _port_names(device))


def cable_reads(device: Device, facts: HostFacts) -> tuple[Text, ...]:
    """Return the files with the physical states of those of a VF's own ports that are down."""
    if device.function.pf is None or device.network is None or not device.network.rdma:
        return ()
    return tuple(
        _port_file(port, "phys_state")
        for port in _port_names(device)
        if _state_word(facts.text(_port_file(port, "state"))) == "DOWN"
    )


def read_port_states(device: Device, facts: HostFacts) -> tuple[PortState, ...]:
    """Return the states that were read, without ports that do not exist here."""
    found = (_port_state(device, port, facts) for port in _port_names(device))
    return tuple(one for one in found if one is not None)


def carrier_evidence(device: Device, states: tuple[PortState, ...]) -> Observation:
    """Return the evidence of the carrier: one link or port with a carrier is enough.

    The device's own interface being set down is no evidence: idle interfaces are not set up, that
    is the work of CNI plugins in the pod, and the kernel closes an interface that changes its
    namespace.
    """
    bad: list[str] = []
    for link in device.carriers:
        if link.up:
            return GOOD
        if link.admin_up or link.role != "own":
            bad.append(_link_down_reason(link))
    unknown = ""
    for state in states:
        if state.word in _GOOD or state.held_down:
            return GOOD
        if state.word:
            bad.append(_port_down_reason(device, state))
        else:
            unknown = unknown or f"port {state.port}: {state.unknown}"
    if unknown:
        return Unknown(SOURCE, unknown)
    return Doubt(SOURCE, "; ".join(bad)) if bad else GOOD


def _port_state(device: Device, port: str, facts: HostFacts) -> PortState | None:
    said = facts.text(_port_file(port, "state"))
    if isinstance(said, Unread):
        unread = f"its state can't be read: {said.why}"
        return None if said.absent else PortState(port, unknown=unread)
    word = _state_word(said)
    if not word:
        return PortState(port, unknown=f"its state: expected like 4: ACTIVE, got {one_line(said)}")
    cable = facts.text(_port_file(port, "phys_state")) if word == "DOWN" else ""
    held = isinstance(cable, str) and cable.strip() == _LINK_UP
    return PortState(port, word, held_down=held and device.function.pf is not None)


def _state_word(said: str | Unread) -> str:
    match = None if isinstance(said, Unread) else _STATE.fullmatch(said.strip())
    return match[1] if match else ""


def _link_down_reason(link: Carrier) -> str:
    whose = {
        "own": f"its link {link.name}",
        "pf": f"link of its PF {link.name}",
        "lag": f"bond {link.name} of its PF",
    }[link.role]
    if link.admin_up:
        return f"{whose} is down (no carrier)"
    return f"{whose} is set down: ip link set {link.name} up"


def _port_down_reason(device: Device, state: PortState) -> str:
    name, _, number = state.port.partition("/")
    own = device.network is not None and name in device.network.rdma
    whose = "its" if own else "its PF's"
    because = _BECAUSE.get(state.word)
    return f"port {number} of {whose} InfiniBand device {name} is {state.word}" + (
        f" ({because})" if because else ""
    )


def _port_names(device: Device) -> tuple[str, ...]:
    return device.network.ib_ports if device.network else ()


def _port_file(port: str, name: str) -> Text:
    device, _, number = port.partition("/")
    return Text(f"/sys/class/infiniband/{device}/ports/{number}/{name}")
