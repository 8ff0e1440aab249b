"""The judge of conformance accepts what the rules allow, and tells what they don't."""

import json
from collections.abc import Mapping

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.sim import conformance, judge
from tests.sim.conformance import Grant, Options, Preference
from tests.sim.device import SimDevice
from tests.sim.kubelet_records import SeenDevice

HEALTHY = SeenDevice("Healthy", (0,))

GRANT = Grant(
    ids=("a",),
    envs={"ID": "a", "A_INFO": {"a": {"rebellions": {"mount": "/dev/rbln0"}}}},
    devices=(("/dev/rbln0", "/dev/rbln0", "rw"),),
    mounts=(("/x", "/y", True), ("/x", "/y", True)),
    annotations={},
)


def answer(info: object, **envs: str) -> pb.ContainerAllocateResponse:
    return pb.ContainerAllocateResponse(
        envs={"ID": "a", "A_INFO": json.dumps(info), **envs},
        devices=[
            pb.DeviceSpec(host_path="/dev/rbln0", container_path="/dev/rbln0", permissions="rw")
        ],
        mounts=[pb.Mount(host_path="/x", container_path="/y", read_only=True)],
    )


def test_more_keys_and_fewer_equal_mounts_are_as_good() -> None:
    info = {"a": {"rebellions": {"mount": "/dev/rbln0", "sid": "1"}, "extra": {}}}
    assert list(judge.grant(GRANT, answer(info, MORE="1"))) == []


def test_a_missing_key_is_told_with_its_place() -> None:
    assert list(judge.grant(GRANT, answer({"a": {"rebellions": {}}}))) == [
        "Allocate of a: A_INFO.a.rebellions: no 'mount' in {}"
    ]


def test_another_device_in_the_info_is_told() -> None:
    (difference,) = judge.grant(GRANT, answer({"a": {"rebellions": {}}, "b": {}}))
    assert "expected the devices ['a']" in difference


def test_each_part_of_a_grant_is_compared() -> None:
    empty = pb.ContainerAllocateResponse(annotations={"more": "1"})
    told = "\n".join(judge.grant(GRANT, empty))
    for word in ("devices", "mounts", "annotations", "ID is missing", "A_INFO is missing"):
        assert word in told


def test_devices_are_compared_by_health_and_numa() -> None:
    expected = {"a": HEALTHY, "b": HEALTHY, "c": HEALTHY}
    actual = {"a": HEALTHY, "b": SeenDevice("Healthy", ()), "d": HEALTHY}
    told = list(judge.devices(expected, actual))
    assert [line.split()[1] for line in told] == ["b", "c", "d"]


def test_options_are_compared() -> None:
    options = pb.DevicePluginOptions(get_preferred_allocation_available=True)
    assert list(judge.options(Options(preferred=True, prestart=False), options)) == []
    assert list(judge.options(Options(preferred=True, prestart=True), options)) != []


class TestPreference:
    """Four NPUs, two a card and NUMA node."""

    node: Mapping[str, SimDevice] = {
        bdf: SimDevice(
            bdf=bdf, device="1250", numa=numa, parents=("0000:10:01.0", "0000:11:00.0", bridge)
        )
        for bdf, numa, bridge in (
            ("a", 0, "0000:12:00.0"),
            ("b", 0, "0000:12:00.0"),
            ("c", 0, "0000:12:01.0"),
            ("d", 1, "0000:12:02.0"),
        )
    }
    pool = dict.fromkeys(node, HEALTHY)

    def told(self, expected: Preference, *actual: str) -> str:
        return "\n".join(judge.preference(expected, actual, pool=self.pool, node=self.node))

    def test_another_choice_may_be_as_good(self) -> None:
        assert self.told(Preference(size=1, ids=("a",)), "d") == ""
        assert self.told(Preference(size=2, ids=("a", "c")), "b", "c") == ""

    def test_a_wider_choice_is_not(self) -> None:
        asked = Preference(size=2, ids=("a", "b"))
        assert "bridges" in self.told(asked, "a", "c")
        assert "NUMA nodes" in self.told(asked, "a", "d")

    def test_it_must_be_legal(self) -> None:
        asked = Preference(size=2, ids=("a", "b"), available=(0, 1))
        assert "not available" in self.told(asked, "a", "c")
        assert "twice" in self.told(asked, "a", "a")
        assert "expected 2" in self.told(asked, "a")
        assert "must be included" in self.told(Preference(size=1, ids=("a",), must=("b",)), "a")

    def test_nothing_expected_means_any_legal_answer(self) -> None:
        asked = Preference(size=2, must=("d",))
        assert self.told(asked) == ""
        assert self.told(asked, "d", "a") == ""
        assert "must be included" in self.told(asked, "a", "b")
        assert "expected 2" in self.told(asked, "d")


def test_the_recorded_answers_are_their_own_equals() -> None:
    for name in conformance.names():
        case = conformance.load(name)
        node = {device.bdf: device for device in case.node.devices}
        for pool in case.expected.pools.values():
            for asked in pool.preferred:
                if not asked.error:
                    told = judge.preference(asked, asked.ids, pool=pool.devices, node=node)
                    assert list(told) == []
