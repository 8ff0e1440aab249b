"""CDI specs, as a runtime reads them."""

from pathlib import Path

import pytest

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import DeviceType, PoolSpec
from rbln_worker.core.allocation import cdi
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, EnvNames
from rbln_worker.core.allocation.providers.provider import DeviceNode, Mount, same_path
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.translate import container_member, encode_share
from tests.sim import runtime

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")
TOOL = Mount("/usr/local/bin/rbln-stat", "/usr/bin/rbln-stat")
OTHER = Mount("/a", "/b")


def answer(
    name: str, *nodes: str | DeviceNode, mounts: tuple[Mount, ...] = (), info: str = ""
) -> DeviceAllocation:
    made = tuple(same_path(node) if isinstance(node, str) else node for node in nodes)
    return DeviceAllocation(DeviceId(name), made, mounts, info or f'"{name}":{{}}')


A = answer("0000:05:00.0", "/dev/rbln0", "/dev/rsd0", mounts=(TOOL,))
B = answer("0000:06:00.0", "/dev/rbln1", "/dev/rsd0", mounts=(TOOL,))
NOTHING = answer("0000:07:00.0")


def write(folder: Path, pool: PoolSpec, *answers: DeviceAllocation) -> Path:
    text = cdi.spec_text(pool, answers)
    assert text is not None
    path = folder / cdi.file_names(pool)[pool.device_type]
    path.write_text(text)
    return path


def test_the_references_spec_and_the_tool(tmp_path: Path) -> None:
    path = write(tmp_path, POOL, B, A, NOTHING)
    assert path.name == "sriov-dp-rebellions.ai-net-accel-ATOM.yaml"
    spec = runtime.checked(path)
    assert spec["kind"] == "rebellions.ai/net-accel"
    assert [device["name"] for device in spec["devices"]] == [A.id, B.id]
    assert spec["devices"][0] == {
        "name": A.id,
        "containerEdits": {
            "deviceNodes": [
                {"hostPath": "/dev/rbln0", "path": "/dev/rbln0", "permissions": "rw"},
                {"hostPath": "/dev/rsd0", "path": "/dev/rsd0", "permissions": "rw"},
            ]
        },
    }
    assert path.read_text().startswith("# rbln-device-plugin wrote this for rebellions.ai/ATOM")


@pytest.mark.parametrize(
    ("device_type", "name"),
    [("netDevice", "net-pci"), ("accelerator", "net-accel"), ("auxNetDevice", "net-sf")],
)
def test_each_type_has_a_class(tmp_path: Path, device_type: DeviceType, name: str) -> None:
    pool = PoolSpec("intel.com", "x-1", device_type)
    path = write(tmp_path, pool, answer("mlx5_core.sf.4", "/dev/x"))
    assert path.name == f"sriov-dp-intel.com-{name}-x-1.yaml"
    assert runtime.checked(path)["kind"] == f"intel.com/{name}"


def test_a_container_gets_what_it_would_get_directly(tmp_path: Path) -> None:
    vfio = answer("0000:08:00.0", DeviceNode("/dev/vfio/noiommu-8", "/dev/vfio/8"), mounts=(OTHER,))
    only_mounts = answer("0000:09:00.0", mounts=(TOOL,))
    for answers in ((A, B), (A, B, vfio, NOTHING), (only_mounts,), (only_mounts, A), (vfio,)):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        write(folder, POOL, *answers)
        shares = {
            str(one.id): encode_share(one, "both", cdi.qualified_name(POOL, one.id))
            for one in answers
        }
        given = _container(
            container_member(
                EnvNames("a", "b", "c"), list(shares), shares, cdi.annotation_key(POOL)
            )
        )
        assert not given.devices
        assert not given.mounts
        nodes = dict.fromkeys(
            (node.host, node.container, "rw")
            for one in sorted(answers, key=lambda one: one.id)
            for node in one.nodes
        )
        container = runtime.run(folder, runtime.claims(given))
        assert container.nodes == tuple(nodes)
        mounts = {(m.host, m.container, True) for one in answers for m in one.mounts}
        assert set(container.mounts) == mounts


def test_a_pool_whose_devices_have_no_nodes_has_no_spec_and_claims_nothing() -> None:
    assert cdi.spec_text(POOL, [NOTHING]) is None
    assert cdi.spec_text(POOL, []) is None
    shares = {str(NOTHING.id): encode_share(NOTHING, "both", "never")}
    given = _container(
        container_member(EnvNames("a", "b", "c"), [NOTHING.id], shares, cdi.annotation_key(POOL))
    )
    assert not given.annotations
    assert not given.cdi_devices
    assert given.envs["b"] == NOTHING.id


@pytest.mark.parametrize(
    ("mode", "annotated", "in_field"),
    [("annotations", True, False), ("cri", False, True), ("both", True, True)],
)
def test_the_mode_says_how_a_device_is_claimed(
    mode: cdi.Mode, *, annotated: bool, in_field: bool
) -> None:
    shares = {
        str(one.id): encode_share(one, mode, cdi.qualified_name(POOL, one.id))
        for one in (A, B, NOTHING)
    }
    key = cdi.annotation_key(POOL) if annotated else ""
    given = _container(
        container_member(EnvNames("a", "b", "c"), [B.id, NOTHING.id, A.id, A.id], shares, key)
    )
    names = [f"rebellions.ai/net-accel={one.id}" for one in (A, B)]
    assert [device.name for device in given.cdi_devices] == (names if in_field else [])
    expected = {"cdi.k8s.io/rebellions.ai_net-accel_ATOM": ",".join(names)} if annotated else {}
    assert dict(given.annotations) == expected
    assert runtime.claims(given) == names


@pytest.mark.parametrize(
    ("prefix", "resource"),
    [
        ("rebellions.ai", "ATOM"),
        ("rebellions.ai", "ends-with-a-dash-"),
        ("a-very-long-prefix-of-somebody.with-a-very-long-domain.example.com", "x"),
        ("intel.com", "r" * 63),
        ("intel.com", "r" * 62 + "s"),
    ],
)
def test_every_pool_has_an_annotation_of_its_own(prefix: str, resource: str) -> None:
    pools = [
        PoolSpec(prefix, name, device_type)
        for name in (resource, f"{resource}2")
        for device_type in cdi.CLASSES
    ]
    keys = {cdi.annotation_key(pool) for pool in pools}
    assert len(keys) == len(pools)
    for key in keys:
        runtime.claims(pb.ContainerAllocateResponse(annotations={key: "x"}))


@pytest.mark.parametrize("prefix", ["1bad.com", "a", "", ".com", "a.", "a b", "../x", "ä.com"])
def test_a_prefix_that_is_no_vendor_is_told(prefix: str) -> None:
    why = cdi.unsupported_reason(PoolSpec(prefix, "x", "accelerator"))
    assert why is not None
    assert repr(prefix) in why
    assert cdi.unsupported_reason(POOL) is None


def _container(member: bytes) -> pb.ContainerAllocateResponse:
    return pb.AllocateResponse.FromString(member).container_responses[0]
