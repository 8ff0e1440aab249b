"""Slices reach the desired state over any history, and no state on the way advertises twice."""

from collections import Counter
from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.pool import DraExport
from rbln_worker.core.dra.reconcile import (
    SliceAction,
    StoredSlice,
    is_foreign,
    plan_actions,
)
from rbln_worker.core.dra.resource_slice import (
    DeviceAttribute,
    DeviceTaint,
    ResourceSlice,
    SliceDevice,
    SlicePool,
    SliceSpec,
    node_owner,
)
from rbln_worker.core.dra.slices import MAX_DEVICES, DesiredPool
from rbln_worker.core.kube.api_object import ObjectMeta

NODE = "worker-1.example"
EXPORT = DraExport("npu.rebellions.ai")
KEY = "npu.rebellions.ai/unhealthy"
MOST = 3 * MAX_DEVICES + 9


class ModelServer:
    """Slices as the API server keeps them, with the preconditions of updates and deletions."""

    def __init__(self) -> None:
        self.slices: dict[str, ResourceSlice] = {}
        self.node_uid = "node-0"
        self.drops_taints = False
        self._count = 0

    def take_action(self, action: SliceAction) -> ResourceSlice | None:
        body = action.body
        match action.verb:
            case "create":
                name = f"{body.metadata.generate_name}{self._next():05x}"
                return self._store(name, f"uid-{self._count}", body)
            case "update":
                self._check(body.metadata.name, body.metadata.uid, body.metadata.resource_version)
                present = self.slices[body.metadata.name].spec
                same = (body.spec.driver, body.spec.node_name, body.spec.pool.name)
                assert same == (present.driver, present.node_name, present.pool.name)
                return self._store(body.metadata.name, body.metadata.uid, body)
            case "delete":
                self._check(body.metadata.name, body.metadata.uid, body.metadata.resource_version)
                del self.slices[body.metadata.name]
        return None

    def add_foreign(self, devices: list[str], *, pool: str, uid: str, generation: int) -> None:
        spec = SliceSpec(
            EXPORT.driver,
            SlicePool(pool, generation, 1),
            NODE,
            tuple(SliceDevice(name) for name in devices),
        )
        metadata = ObjectMeta(generate_name=f"{NODE}-x-", owner_references=(node_owner(NODE, uid),))
        self.take_action(SliceAction("create", ResourceSlice(metadata, spec)))

    def advertised(self) -> list[SliceDevice] | None:
        """Return what a consumer reads; None while the pool is incomplete."""
        own = [one.spec for one in self.slices.values() if not is_foreign(one, NODE, self.node_uid)]
        newest = max((one.pool.generation for one in own), default=0)
        whole = [one for one in own if one.pool.generation == newest]
        if not whole or any(one.pool.resource_slice_count != len(whole) for one in whole):
            return None
        return [device for one in whole for device in one.devices]

    def _store(self, name: str, uid: str, body: ResourceSlice) -> ResourceSlice:
        assert len(body.spec.devices) <= MAX_DEVICES
        metadata = msgspec.structs.replace(
            body.metadata, name=name, uid=uid, resource_version=str(self._next())
        )
        spec = msgspec.structs.replace(
            body.spec, devices=tuple(map(self._stored_device, body.spec.devices))
        )
        self.slices[name] = msgspec.structs.replace(body, metadata=metadata, spec=spec)
        return self.slices[name]

    def _stored_device(self, device: SliceDevice) -> SliceDevice:
        taints = tuple(
            msgspec.structs.replace(one, time_added=one.time_added or f"t{self._next()}")
            for one in device.taints
        )
        return msgspec.structs.replace(device, taints=() if self.drops_taints else taints)

    def _check(self, name: str, uid: str, version: str) -> None:
        present = self.slices[name].metadata
        assert (present.uid, present.resource_version) == (uid, version)

    def _next(self) -> int:
        self._count += 1
        return self._count


def named(number: int, *, tainted: bool = False, version: str = "1.0.0") -> SliceDevice:
    return SliceDevice(
        f"d-{number:03d}",
        {"driverVersion": DeviceAttribute(version=version)},
        taints=(DeviceTaint(KEY, "NoSchedule", "npu-status"),) if tainted else (),
    )


@st.composite
def pools(draw: st.DrawFn) -> DesiredPool:
    count = draw(st.one_of(st.integers(0, 5), st.integers(0, MOST)))
    absent = draw(st.sets(st.integers(0, MOST), max_size=8))
    tainted = draw(st.sets(st.integers(0, MOST), max_size=8))
    claimed = draw(st.sets(st.integers(0, MOST), max_size=4))
    version = draw(st.sampled_from(["1.0.0", "1.0.0", "2.0.0"]))
    return DesiredPool(
        EXPORT,
        NODE,
        tuple(
            named(number, tainted=number in tainted, version=version)
            for number in range(count)
            if number not in absent
        ),
        frozenset(f"d-{number:03d}" for number in claimed),
    )


DISTURBANCES = st.sampled_from(
    ["", "", "", "wiped", "one lost", "foreign", "other pool", "node made again", "drops", "stores"]
)
STORY = st.lists(st.tuples(pools(), DISTURBANCES, st.integers(0, 6)), min_size=1, max_size=5)


def disturb(server: ModelServer, disturbance: str) -> None:
    match disturbance:
        case "wiped":
            server.slices.clear()
        case "one lost" if server.slices:
            del server.slices[max(server.slices)]
        case "foreign":
            server.add_foreign(["d-000", "x"], pool=NODE, uid=server.node_uid, generation=7)
        case "other pool":
            server.add_foreign(["d-001"], pool="theirs", uid=server.node_uid, generation=1)
        case "node made again":
            server.node_uid += "'"
        case "drops" | "stores":
            server.drops_taints = disturbance == "drops"
        case _:
            pass


def take_steps(
    server: ModelServer, desired: DesiredPool, accepted: dict[str, StoredSlice]
) -> Iterator[SliceAction]:
    """Take the planned steps one by one."""
    for action in plan_actions(server.slices.values(), desired, server.node_uid, accepted):
        stored = server.take_action(action)
        if stored is not None and action.verb != "delete":
            accepted[stored.metadata.name] = StoredSlice(action.body.spec, stored.spec)
        yield action


@given(STORY)
def test_any_history_ends_at_the_desired_devices_and_none_is_ever_advertised_twice(
    story: list[tuple[DesiredPool, str, int]],
) -> None:
    server, accepted = ModelServer(), dict[str, StoredSlice]()
    for desired, disturbance, fails_after in story:
        disturb(server, disturbance)
        for number, _ in enumerate(take_steps(server, desired, accepted)):
            seen = Counter(device.name for device in server.advertised() or ())
            assert all(count == 1 for count in seen.values())
            if number == fails_after:
                break
    desired = story[-1][0]
    before = {device.name for one in server.slices.values() for device in one.spec.devices}
    list(take_steps(server, desired, accepted))
    got = server.advertised()
    assert got is not None
    wanted = {device.name for device in desired.devices}
    names = {device.name for device in got}
    assert wanted <= names
    assert names - wanted <= desired.claimed & before
    assert all(device.taints for device in got if device.name not in wanted) or server.drops_taints
    assert not [one for one in server.slices.values() if is_foreign(one, NODE, server.node_uid)]
    assert plan_actions(server.slices.values(), desired, server.node_uid, accepted) == ()


@given(desired=pools(), number=st.integers(0, MOST), drops=st.booleans())
def test_a_change_of_one_device_updates_one_slice_in_its_generation(
    *, desired: DesiredPool, number: int, drops: bool
) -> None:
    server, accepted = ModelServer(), dict[str, StoredSlice]()
    server.drops_taints = drops
    list(take_steps(server, desired, accepted))
    if not desired.devices:
        return
    generations = {one.spec.pool.generation for one in server.slices.values()}
    at = number % len(desired.devices)
    sick = msgspec.structs.replace(
        desired.devices[at], taints=(DeviceTaint(KEY, "NoExecute", "aer"),)
    )
    devices = (*desired.devices[:at], sick, *desired.devices[at + 1 :])
    changed = msgspec.structs.replace(desired, devices=devices)
    actions = list(take_steps(server, changed, accepted))
    assert [action.verb for action in actions] == ["update"]
    assert {one.spec.pool.generation for one in server.slices.values()} == generations


def test_a_taint_keeps_the_time_that_the_server_gave_it() -> None:
    server, accepted = ModelServer(), dict[str, StoredSlice]()
    sick, well = named(0, tainted=True), named(1)
    list(take_steps(server, DesiredPool(EXPORT, NODE, (sick, well)), accepted))
    (before,) = (one.spec.devices[0].taints for one in server.slices.values())
    assert before[0].time_added
    both = DesiredPool(EXPORT, NODE, (sick, named(1, tainted=True)))
    list(take_steps(server, both, accepted))
    (after,) = (one.spec.devices[0].taints for one in server.slices.values())
    assert after == before


def test_slices_are_named_in_the_order_of_their_devices() -> None:
    server = ModelServer()
    devices = tuple(named(number) for number in range(MOST))
    list(take_steps(server, DesiredPool(EXPORT, NODE, devices), {}))
    listed = [server.slices[name].spec.devices for name in sorted(server.slices)]
    assert [device for one in listed for device in one] == list(devices)


def test_a_pool_without_devices_has_an_empty_slice() -> None:
    server = ModelServer()
    list(take_steps(server, DesiredPool(EXPORT, NODE, ()), {}))
    assert server.advertised() == []


def test_an_unplugged_device_stays_tainted_while_a_claim_holds_it() -> None:
    server, accepted = ModelServer(), dict[str, StoredSlice]()
    list(take_steps(server, DesiredPool(EXPORT, NODE, (named(0), named(1))), accepted))
    held = DesiredPool(EXPORT, NODE, (named(1),), frozenset({"d-000"}))
    list(take_steps(server, held, accepted))
    shown = {device.name: device.taints for device in server.advertised() or ()}
    assert [(one.key, one.value) for one in shown["d-000"]] == [(KEY, "sysfs")]
    list(take_steps(server, DesiredPool(EXPORT, NODE, (named(1),)), accepted))
    assert [device.name for device in server.advertised() or ()] == ["d-001"]
