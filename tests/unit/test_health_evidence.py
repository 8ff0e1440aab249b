"""What is made of what was read of a device, and of what the supervisor says of it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import (
    Bdf,
    Carrier,
    Device,
    DeviceId,
    Network,
    PciFunction,
)
from rbln_worker.contract.health import HealthPolicy
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.host_facts import (
    Fact,
    FirstBytes,
    HostFacts,
    LinkTarget,
    Need,
    Text,
    Unread,
)
from rbln_worker.core.allocation.providers.provider import DeviceNode
from rbln_worker.core.health import device_health, driver, evidence, npu, pcie
from rbln_worker.core.health.device_health import DeviceHealth
from rbln_worker.core.health.evidence import Evidence
from rbln_worker.core.health.health_record import HealthRecord, HealthState, Timestamp
from rbln_worker.core.health.observation import GOOD, Bad, Doubt, Observation, Unknown
from rbln_worker.core.health.pcie import FatalErrors

BDF = DeviceId("0000:20:00.0")
NPU = Device(BDF, PciFunction(Bdf(BDF), "1eff", "1120", 0x12, "rebellions", 0))
HOME = f"/sys/bus/pci/devices/{BDF}"
STATUS = "/sys/class/rebellions/rbln3/status"
VERSION = "/sys/class/rebellions/rbln3/kernel_version"
ABSENT = Unread("no such file", absent=True)
UNREADABLE = Unread("Input/output error")
POLICY = HealthPolicy()


def answer(*faults: str) -> DeviceAllocation:
    nodes = (DeviceNode("/dev/rbln3", "/dev/rbln3"), DeviceNode("/dev/rsd0", "/dev/rsd0"))
    return DeviceAllocation(BDF, nodes, (), "", faults)


def texts(**files: Fact) -> HostFacts:
    """Facts of files of the function's directory."""
    return HostFacts({Text(f"{HOME}/{name}"): fact for name, fact in files.items()})


# The NPU's status


def status(said: str | Unread, version: str | Unread = "3.0.0\n") -> Observation:
    return npu.status_evidence("rbln3", HostFacts({Text(STATUS): said, Text(VERSION): version}))


@pytest.mark.parametrize(
    "version", ["3.5.1\n", "2.9", "4.0.0", "1.2.92-rc1", "", UNREADABLE, ABSENT]
)
@pytest.mark.parametrize("said", ["0\n", "1\n", "1", "0 "])
def test_ready_and_busy_are_healthy_whatever_the_driver(said: str, version: str | Unread) -> None:
    assert status(said, version) == GOOD


@pytest.mark.parametrize("version", ["3.5.1\n", "3.5", "v3.0.0", "0.9.1", "3.5.99-rc1", "1.2.92+x"])
def test_the_numbers_of_known_drivers(version: str) -> None:
    assert status("2\n", version) == Doubt("npu-status", "its status is INIT (2)")
    assert status("3\n", version) == Bad("npu-status", "its status is FAULT (3)")
    assert status("4\n", version) == Doubt("npu-status", "its status is FINISH (4)")
    assert isinstance(status("5\n", version), Unknown)


@pytest.mark.parametrize(
    "version", ["3.6.0\n", "4.0.0", "10.0", "3", "three.five", "3.5x", "3.5.1\n4", "", UNREADABLE]
)
def test_nobody_knows_the_numbers_of_other_drivers(version: str | Unread) -> None:
    """A driver of the future puts PROBING=2 before INIT, and so a FAULT is a 4."""
    for number in range(2, 9):
        said = status(f"{number}\n", version)
        assert isinstance(said, Unknown)
        assert said.reason.startswith(f"nobody knows the status {number} of its driver (")


@pytest.mark.parametrize(
    "said", ["", "\n", "READY", "-1", "0x3", "3.0", "1e0", "\u0663", "9" * 99, "0\n0"]
)
def test_a_status_that_is_no_number_is_unknown(said: str) -> None:
    assert isinstance(status(said), Unknown)


def test_a_driver_without_a_status_says_nothing_bad() -> None:
    assert status(ABSENT) == GOOD
    assert status(UNREADABLE) == Unknown(
        "npu-status", "its status can't be read: Input/output error"
    )


@given(st.text(), st.text())
def test_any_text_is_some_status(said: str, version: str) -> None:
    found = status(said, version)
    assert found == GOOD or (not isinstance(found, Bad) or said.strip() == "3")


def test_the_npus_name_is_that_of_its_node() -> None:
    assert npu.name_of(answer().nodes) == "rbln3"
    for path in ("/dev/rbln", "/dev/rbln3/..", "/dev/vfio/3", "/dev/rbln1234567", "/dev/rbln3\n"):
        assert npu.name_of([DeviceNode(path, path)]) is None
    vfio = msgspec.structs.replace(NPU.function, driver="vfio-pci")
    of_vfio = evidence.health_reads(msgspec.structs.replace(NPU, function=vfio), answer())
    assert Text(STATUS) in evidence.health_reads(NPU, answer())
    assert Text(STATUS) not in of_vfio


# PCI


@pytest.mark.parametrize(
    ("header", "dead"),
    [
        (b"\xff" * 64, True),
        (b"\xff" * 4 + b"\x06\x00" + b"\x00" * 58, False),  # a VF
        (b"\xff" * 63 + b"\x00", False),
        (b"\xff" * 16, False),  # somebody else's privileges: no whole header
        (b"", False),
        (ABSENT, False),
        (UNREADABLE, False),
    ],
)
def test_a_function_that_fell_off_the_bus(header: bytes | Unread, dead: bool) -> None:  # noqa: FBT001
    said = pcie.config_space(NPU, HostFacts({FirstBytes(f"{HOME}/config", 64): header}))
    assert isinstance(said, Bad) is dead
    assert dead or said == GOOD


@pytest.mark.parametrize(
    ("power", "read"),
    [("suspended\n", False), ("active\n", True), ("unsupported\n", True), (ABSENT, True)],
)
def test_a_function_that_sleeps_is_not_woken(power: str | Unread, read: bool) -> None:  # noqa: FBT001
    facts = HostFacts({Text(f"{HOME}/power/runtime_status"): power})
    needs = evidence.further_reads(NPU, answer(), facts)
    assert (FirstBytes(f"{HOME}/config", 64) in needs) is read
    assert (Text(f"{HOME}/current_link_speed") in needs) is read


def test_fatal_errors_are_counted_from_the_first_look() -> None:
    text = "Undefined 0\nDLP 1\nTOTAL_ERR_FATAL 7\n"
    assert pcie.fatal_error_count(NPU, texts(aer_dev_fatal=text)) == 7
    for odd in ("", "TOTAL_ERR_FATAL", "TOTAL_ERR_FATAL x", "XTOTAL_ERR_FATAL 7", "0", ABSENT):
        assert pcie.fatal_error_count(NPU, texts(aer_dev_fatal=odd)) is None
    first = pcie.update_fatal_errors(None, 7, 1.0)
    assert first == FatalErrors(7)
    assert pcie.fatal_errors_expire_at(first, 1.0) is None
    same = pcie.update_fatal_errors(first, 7, 2.0)
    assert same == first
    more = pcie.update_fatal_errors(same, 8, 3.0)
    assert pcie.fatal_errors_expire_at(more, 62.9) == 63.0
    assert pcie.fatal_errors_expire_at(more, 63.0) is None
    again = pcie.update_fatal_errors(more, 9, 60.0)
    assert pcie.fatal_errors_expire_at(again, 63.0) == 120.0
    assert (
        pcie.update_fatal_errors(again, 9, 61.0) == again
    )  # a look that finds no more adds no time
    assert pcie.update_fatal_errors(again, None, 61.0) == again
    assert pcie.update_fatal_errors(FatalErrors(9), 0, 61.0) == FatalErrors(
        0
    )  # counting began anew


@pytest.mark.parametrize(
    ("speed", "width", "best", "widest", "warning"),
    [
        ("32.0 GT/s PCIe\n", "16\n", "32.0 GT/s PCIe\n", "16\n", None),
        ("16.0 GT/s PCIe\n", "16\n", "32.0 GT/s PCIe\n", "16\n", "16.0 GT/s x16, it can do 32.0"),
        ("32.0 GT/s PCIe\n", "8\n", "32.0 GT/s PCIe\n", "16\n", "32.0 GT/s x8, it can do 32.0"),
        ("8 GT/s", "1", "16 GT/s", "4", "8.0 GT/s x1, it can do 16.0 GT/s x4"),
        ("Unknown\n", "0\n", "32.0 GT/s PCIe\n", "16\n", None),
        ("Unknown\n", "63\n", "Unknown\n", "255\n", "? GT/s x63, it can do ? GT/s x255"),
        ("32.0 GT/s PCIe\n", "16\n", "Unknown\n", "0\n", None),
        (ABSENT, ABSENT, ABSENT, ABSENT, None),
        ("fast", "-1", "9" * 99, "wide", None),
    ],
)
def test_a_link_below_its_best_is_a_warning(
    speed: str | Unread,
    width: str | Unread,
    best: str | Unread,
    widest: str | Unread,
    warning: str | None,
) -> None:
    facts = texts(
        current_link_speed=speed,
        current_link_width=width,
        max_link_speed=best,
        max_link_width=widest,
    )
    said = pcie.link_warning(NPU, facts)
    assert (said is None) is (warning is None)
    assert warning is None or (said is not None and warning in said)
    found = evidence.gather_evidence(nic(), answer(), facts, unusable="", unwritten="")
    assert (found.observation, found.warnings) == (GOOD, (said,) if said else ())


@given(st.binary(max_size=100), st.text())
def test_any_files_are_some_evidence(config: bytes, text: str) -> None:
    needs: dict[Need, Fact] = dict.fromkeys(evidence.health_reads(NPU, answer()), text)
    needs |= dict.fromkeys(evidence.further_reads(NPU, answer(), HostFacts()), text)
    needs[FirstBytes(f"{HOME}/config", 64)] = config
    found = evidence.gather_evidence(NPU, answer(), HostFacts(needs), unusable="", unwritten="")
    assert isinstance(found.observation, GOOD.__class__ | Bad | Doubt | Unknown)


# All of a look


def gathered(unusable: str = "", unwritten: str = "", said: str = "0\n") -> Observation:
    facts = HostFacts({Text(STATUS): said, Text(VERSION): "3.0.0\n"})
    return evidence.gather_evidence(
        NPU, answer(), facts, unusable=unusable, unwritten=unwritten
    ).observation


def test_what_a_container_could_not_use() -> None:
    assert evidence.unusable_reason(answer(), ()) == ""
    assert evidence.unusable_reason(answer("x", "y"), ("/dev/z",)) == "x; y"
    assert evidence.unusable_reason(answer(), ("/dev/y",)) == "/dev/y does not exist"
    assert evidence.unusable_reason(answer(), ("/dev/y", "/dev/z")) == "/dev/y, /dev/z do not exist"


def test_what_is_sure_decides() -> None:
    assert gathered() == GOOD
    assert gathered("no node") == Doubt("node", "no node")
    assert gathered(unwritten="disk full") == Bad("device-info", "disk full")
    assert gathered("no node", said="3") == Bad("npu-status", "its status is FAULT (3)")
    assert gathered("no node", said="77") == Doubt("node", "no node")


def test_how_often_to_look() -> None:
    nic = msgspec.structs.replace(
        NPU, function=msgspec.structs.replace(NPU.function, vendor="8086")
    )
    assert evidence.needs_quick_checks([NPU])
    assert evidence.needs_quick_checks([nic, NPU])
    assert evidence.needs_quick_checks([NPU] * 32)
    assert not evidence.needs_quick_checks([NPU] * 33)
    assert not evidence.needs_quick_checks([nic])
    assert not evidence.needs_quick_checks([])


# The supervisor's word


def nic(*, pf: str | None = None, link: Carrier | None = None, gone: str | None = None) -> Device:
    function = PciFunction(
        Bdf(BDF), "8086", "1889", 0x02, "iavf", 0, pf=Bdf(pf) if pf else None, network=Network()
    )
    return Device(BDF, function, carriers=(link,) if link else (), gone=gone)


UP, DOWN = Carrier("enp1s0f0", "own", up=True), Carrier("enp1s0f0", "own", up=False)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (nic(), GOOD),
        (nic(link=UP), GOOD),
        (nic(link=DOWN), Doubt("link", "its link enp1s0f0 is down (no carrier)")),
        (nic(link=DOWN, gone="unplugged"), Bad("sysfs", "unplugged")),
    ],
)
def test_what_the_supervisor_says(device: Device, said: Observation) -> None:
    assert device_health.desired_state_evidence(device, POLICY) == said


def test_a_pool_may_not_care_for_links() -> None:
    policy = HealthPolicy(link_state=False)
    assert device_health.desired_state_evidence(nic(link=DOWN), policy) == GOOD
    assert device_health.desired_state_evidence(nic(link=DOWN, gone="x"), policy) == Bad(
        "sysfs", "x"
    )


# A device's case

WELL = Evidence(GOOD)


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds, seconds)


def healthy(device: Device = NPU) -> DeviceHealth:
    one = device_health.with_evidence(
        device_health.with_desired_state(None, device, listing=False), WELL, 0.0
    )
    one = device_health.evaluate_evidence(one, "", POLICY, at(0))
    assert one.record.state is HealthState.HEALTHY
    return one


def test_nobody_is_judged_before_he_was_looked_at() -> None:
    one = device_health.with_desired_state(None, NPU, listing=False)
    assert device_health.evaluate_evidence(one, "", POLICY, at(1)) is one
    assert device_health.device_verdict(one).reason == "not checked yet"


def test_the_supervisors_word_needs_no_look() -> None:
    one = device_health.with_desired_state(healthy(nic(link=UP)), nic(link=DOWN), listing=True)
    one = device_health.evaluate_evidence(one, "", POLICY, at(1))
    assert one.record.state is HealthState.SUSPECT
    assert device_health.next_evaluation(one, 1.0) == 1 + POLICY.suspect_s
    one = device_health.evaluate_evidence(one, "", POLICY, at(1.03))
    assert one.record.state is HealthState.UNHEALTHY
    never = device_health.evaluate_evidence(
        device_health.with_desired_state(None, nic(gone="x"), listing=False), "", POLICY, at(1)
    )
    assert device_health.device_verdict(never).reason == "x"


def test_one_that_was_gone_is_looked_at_before_it_is_good() -> None:
    gone = msgspec.structs.replace(NPU, gone="unplugged")
    one = device_health.evaluate_evidence(
        device_health.with_desired_state(healthy(), gone, listing=True), "", POLICY, at(1)
    )
    assert one.record.state is HealthState.UNHEALTHY
    one = device_health.evaluate_evidence(
        device_health.with_desired_state(one, NPU, listing=True), "", POLICY, at(2)
    )
    assert one.record.state is HealthState.UNHEALTHY
    one = device_health.evaluate_evidence(
        device_health.with_evidence(one, WELL, 3.0), "", POLICY, at(3)
    )
    assert (one.record.state, one.record.failures) == (HealthState.PROBATION, 1)


def test_another_device_by_the_same_id_has_no_past() -> None:
    function = msgspec.structs.replace(NPU.function, driver="vfio-pci")
    one = device_health.with_desired_state(
        healthy(), msgspec.structs.replace(NPU, function=function), listing=True
    )
    assert one.record == HealthRecord()  # and it stays listed
    moved = msgspec.structs.replace(
        NPU, function=msgspec.structs.replace(NPU.function, numa_node=1)
    )
    assert (
        device_health.with_desired_state(healthy(), moved, listing=True).record == healthy().record
    )


def test_only_who_comes_to_a_listed_pool_is_a_newcomer() -> None:
    assert device_health.with_desired_state(None, NPU, listing=True).record.newcomer
    assert not device_health.with_desired_state(None, NPU, listing=False).record.newcomer


def test_a_fatal_error_counts_for_a_minute() -> None:
    one = device_health.with_evidence(healthy(), Evidence(GOOD, fatal_errors=1), 1.0)
    one = device_health.evaluate_evidence(one, "", POLICY, at(1))
    assert one.record.state is HealthState.HEALTHY
    one = device_health.evaluate_evidence(
        device_health.with_evidence(one, Evidence(GOOD, fatal_errors=2), 2.0), "", POLICY, at(2)
    )
    assert (one.record.state, one.record.source) == (HealthState.UNHEALTHY, "aer")
    assert device_health.next_evaluation(one, 2.0) == 62.0
    assert (
        device_health.evaluate_evidence(one, "", POLICY, at(61.9)).record.state
        is HealthState.UNHEALTHY
    )
    one = device_health.evaluate_evidence(one, "", POLICY, at(62.0))
    assert one.record.state is HealthState.PROBATION
    assert device_health.next_evaluation(one, 62.0) == 62.05


def test_what_the_runtime_was_not_told_of_is_not_healthy() -> None:
    one = device_health.evaluate_evidence(healthy(), "no spec", POLICY, at(1))
    assert (one.record.state, one.record.source, one.record.reason) == (
        HealthState.UNHEALTHY,
        "cdi",
        "no spec",
    )


def test_warnings_are_those_of_the_last_look() -> None:
    one = device_health.with_evidence(healthy(), Evidence(GOOD, warnings=("slow",)), 1.0)
    assert device_health.device_verdict(one).warnings == ("slow",)
    assert (
        device_health.device_verdict(
            device_health.with_evidence(one, evidence.timeout_evidence(5), 2.0)
        ).warnings
        == ()
    )


def test_what_nobody_tells_of_is_what_was_read_of_it() -> None:
    read: dict[Need, Fact] = {
        Text(STATUS): "1\n",
        Text(f"{HOME}/power/runtime_status"): "active\n",
        FirstBytes(f"{HOME}/config", 64): b"\x00" * 64,
        LinkTarget(f"{HOME}/driver"): "rebellions",
    }
    told = evidence.quick_reads(NPU, answer(), HostFacts(read))
    assert list(told) == [
        Text(f"{HOME}/power/runtime_status"),  # first: one that sleeps is asked for no more
        FirstBytes(f"{HOME}/config", 64),
        Text(STATUS),
    ]
    asleep: dict[Need, Fact] = {
        need: fact for need, fact in read.items() if not isinstance(need, FirstBytes)
    }
    assert FirstBytes(f"{HOME}/config", 64) not in evidence.quick_reads(
        NPU, answer(), HostFacts(asleep)
    )
    assert not evidence.quick_reads(nic(), answer(), HostFacts(read))


def test_what_else_is_read_depends_on_the_first() -> None:
    ready, odd = HostFacts({Text(STATUS): "1\n"}), HostFacts({Text(STATUS): "3\n"})
    assert Text(VERSION) not in evidence.further_reads(NPU, answer(), ready)
    assert Text(VERSION) in evidence.further_reads(NPU, answer(), odd)  # whose number is it?
    vf = msgspec.structs.replace(NPU, function=msgspec.structs.replace(NPU.function, pf=Bdf("x")))
    assert evidence.further_reads(vf, answer(), ready) == (FirstBytes(f"{HOME}/config", 64),)


@pytest.mark.parametrize(
    ("bound", "seen"),
    [
        ("rebellions", GOOD),
        ("vfio-pci", Doubt("sysfs", "driver vfio-pci is bound to it, rebellions was")),
        (ABSENT, Doubt("sysfs", "no driver is bound to it")),
        (UNREADABLE, GOOD),
    ],
)
def test_the_driver_that_is_bound(bound: str | Unread, seen: Observation) -> None:
    assert driver.driver_evidence(NPU, HostFacts({LinkTarget(f"{HOME}/driver"): bound})) == seen
