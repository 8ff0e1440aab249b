"""Whether a network device has carrier: its links, its InfiniBand ports, or any of them."""

from collections.abc import Mapping

import msgspec
import pytest

from rbln_worker.contract.device import Bdf, Carrier, Device, DeviceId, Network, PciFunction
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.allocation.device_allocation import build_allocation
from rbln_worker.core.allocation.host_facts import Fact, HostFacts, Need, Text, Unread
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.health import carrier, device_health, evidence
from rbln_worker.core.health.carrier import PortState
from rbln_worker.core.health.health_record import Timestamp
from rbln_worker.core.health.observation import GOOD, Doubt, Observation, Unknown
from tests.unit.inventory import pool

BDF, PF = Bdf("0000:5e:00.0"), Bdf("0000:5d:00.0")


def device(*carriers: Carrier, pf: Bdf | None = None, network: Network = Network()) -> Device:  # noqa: B008 - frozen
    function = PciFunction(BDF, "15b3", "1017", 0x02, "mlx5_core", 0, pf=pf, network=network)
    return Device(DeviceId(BDF), function, carriers=carriers)


def up(name: str) -> Carrier:
    return Carrier(name, "own", up=True)


def lost(name: str) -> Carrier:
    return Carrier(name, "own", up=False)


def unset(name: str) -> Carrier:
    return Carrier(name, "own", up=False, admin_up=False)


def doubt(reason: str) -> Doubt:
    return Doubt("link", reason)


@pytest.mark.parametrize(
    ("carriers", "said"),
    [
        ((), GOOD),
        ((up("e0"),), GOOD),
        ((lost("e0"),), doubt("its link e0 is down (no carrier)")),
        ((unset("e0"),), GOOD),
        ((unset("e0"), unset("e1")), GOOD),
        ((lost("e0"), up("e1")), GOOD),
        ((up("e0"), lost("e1")), GOOD),
        # Only one that is up says anything.
        ((unset("e0"), lost("e1")), doubt("its link e1 is down (no carrier)")),
        (
            (lost("e0"), lost("e1")),
            doubt("its link e0 is down (no carrier); its link e1 is down (no carrier)"),
        ),
        ((Carrier("p0", "pf", up=True),), GOOD),
        ((Carrier("p0", "pf", up=False),), doubt("link of its PF p0 is down (no carrier)")),
        (
            (Carrier("p0", "pf", up=False, admin_up=False),),
            doubt("link of its PF p0 is set down: ip link set p0 up"),
        ),
        ((Carrier("p0", "pf", up=False, admin_up=False), Carrier("p1", "pf", up=True)), GOOD),
        ((Carrier("b0", "lag", up=False),), doubt("bond b0 of its PF is down (no carrier)")),
        (
            (Carrier("b0", "lag", up=False, admin_up=False),),
            doubt("bond b0 of its PF is set down: ip link set b0 up"),
        ),
    ],
)
def test_one_way_out_is_enough(carriers: tuple[Carrier, ...], said: Observation) -> None:
    assert carrier.carrier_evidence(device(*carriers), ()) == said


# InfiniBand ports

HCA = Network(rdma=("mlx5_0",), ib_ports=("mlx5_0/1",), ib_only=True)
PFS_PORT = Network(ib_ports=("mlx5_0/1",), ib_only=True)
TWO = Network(rdma=("mlx4_0",), ib_ports=("mlx4_0/1", "mlx4_0/2"), ib_only=True)


def state(port: str, said: Fact) -> dict[Need, Fact]:
    return {Text(f"/sys/class/infiniband/{port.replace('/', '/ports/')}/state"): said}


def cable(port: str, said: Fact) -> dict[Need, Fact]:
    return {Text(f"/sys/class/infiniband/{port.replace('/', '/ports/')}/phys_state"): said}


def judge(one: Device, read: Mapping[Need, Fact]) -> Observation:
    return carrier.carrier_evidence(one, carrier.read_port_states(one, HostFacts(read)))


GONE, HELD = Unread("No such file or directory", absent=True), Unread("Input/output error")
P1 = "port 1 of its InfiniBand device mlx5_0"


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("4: ACTIVE\n", GOOD),
        ("5: ACTIVE_DEFER\n", GOOD),
        ("1: DOWN\n", doubt(f"{P1} is DOWN (no cable, or disabled)")),
        ("2: INIT\n", doubt(f"{P1} is INIT (no subnet manager has set it up)")),
        ("3: ARMED\n", doubt(f"{P1} is ARMED (the subnet manager has not made it active)")),
        ("0: NOP\n", doubt(f"{P1} is NOP")),
        (GONE, GOOD),  # a container has the RDMA device
        (HELD, Unknown("link", "port mlx5_0/1: its state can't be read: Input/output error")),
        ("", Unknown("link", "port mlx5_0/1: its state: expected like 4: ACTIVE, got ")),
        ("4: \x1b[31m", None),
        ("4" * 5000, None),
    ],
)
def test_a_port_is_judged_by_its_state(said: Fact, seen: Observation | None) -> None:
    found = judge(device(network=HCA), state("mlx5_0/1", said))
    assert isinstance(found, Unknown) if seen is None else found == seen


@pytest.mark.parametrize(
    ("first", "second", "good"),
    [
        ("4: ACTIVE", "1: DOWN", True),
        ("1: DOWN", "4: ACTIVE", True),
        ("1: DOWN", "2: INIT", False),
        (GONE, "2: INIT", False),
        (HELD, "4: ACTIVE", True),
    ],
)
def test_one_active_port_is_enough(first: Fact, second: Fact, good: bool) -> None:  # noqa: FBT001
    read = state("mlx4_0/1", first) | state("mlx4_0/2", second)
    assert (judge(device(network=TWO), read) == GOOD) is good


def test_a_port_that_does_not_answer_may_be_active() -> None:
    read = state("mlx4_0/1", HELD) | state("mlx4_0/2", "1: DOWN")
    assert isinstance(judge(device(network=TWO), read), Unknown)


def test_a_vpi_card_has_carrier_by_either_port() -> None:
    network = Network(("e0", "ib0"), rdma=("mlx4_0",), ib_ports=("mlx4_0/1",))
    for link, said, good in (
        (up("e0"), "1: DOWN", True),
        (lost("e0"), "4: ACTIVE", True),
        (lost("e0"), "1: DOWN", False),
        (unset("e0"), "2: INIT", False),
    ):
        found = judge(device(link, network=network), state("mlx4_0/1", said))
        assert (found == GOOD) is good


def test_a_virtual_function_without_rdma_hangs_on_its_pfs_port() -> None:
    vf = device(pf=PF, network=PFS_PORT)
    assert judge(vf, state("mlx5_0/1", "4: ACTIVE")) == GOOD
    found = judge(vf, state("mlx5_0/1", "2: INIT"))
    because = "INIT (no subnet manager has set it up)"
    assert found == doubt(f"port 1 of its PF's InfiniBand device mlx5_0 is {because}")
    # What its cable does is of no use then.
    assert carrier.cable_reads(vf, HostFacts(state("mlx5_0/1", "1: DOWN"))) == ()


@pytest.mark.parametrize(
    ("pf", "phys", "good"),
    [
        (PF, "5: LinkUp\n", True),  # by policy: the CNI plugin sets it up in the pod
        (PF, "2: Polling\n", False),
        (PF, "3: Disabled\n", False),
        (PF, GONE, False),
        (None, "5: LinkUp\n", False),
    ],
)
def test_a_virtual_functions_port_that_is_held_down(
    pf: Bdf | None,
    phys: Fact,
    good: bool,  # noqa: FBT001
) -> None:
    one = device(pf=pf, network=HCA)
    down = state("mlx5_0/1", "1: DOWN")
    assert (judge(one, down | cable("mlx5_0/1", phys)) == GOOD) is good
    asked = carrier.cable_reads(one, HostFacts(down))
    assert set(asked) == (set(cable("mlx5_0/1", phys)) if pf else set())
    assert carrier.cable_reads(one, HostFacts(state("mlx5_0/1", "4: ACTIVE"))) == ()


def test_ports_are_looked_at_between_checks() -> None:
    spec = pool("a", "netDevice").spec
    one = device(network=HCA)
    told = build_allocation(ProviderInput(one, spec, HostFacts()))
    assert evidence.needs_quick_checks([one])
    assert not evidence.needs_quick_checks([device()])
    read = HostFacts(state("mlx5_0/1", "4: ACTIVE"))
    assert evidence.quick_reads(one, told, read) == tuple(state("mlx5_0/1", ""))


def test_a_pool_may_not_care_for_ports() -> None:
    one = device(network=HCA)
    found = evidence.Evidence(GOOD, ports=(PortState("mlx5_0/1", "INIT"),))
    seen = device_health.with_evidence(
        device_health.with_desired_state(None, one, listing=False), found, 0.0
    )
    careless = HealthPolicy(link_state=False)
    assert device_health.device_verdict(
        device_health.evaluate_evidence(seen, "", careless, Timestamp(0, 0))
    ).healthy
    assert not device_health.device_verdict(
        device_health.evaluate_evidence(seen, "", HealthPolicy(), Timestamp(0, 0))
    ).healthy


def test_news_of_carriers_are_no_reason_to_read_files() -> None:
    assert device_health.without_link(device(up("e0"))) == device()
    assert msgspec.structs.replace(device(up("e0")), carriers=()) == device()
