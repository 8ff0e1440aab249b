"""Why a device is where it is, and what another file would do: asked of a running supervisor."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rbln_supervisor.config.config_file import MAX_BYTES
from rbln_supervisor.core.device_types.base import RefusalReason
from tests.sim.device import Rdma, SimDevice, Subfunction
from tests.sim.node import SimNode
from tests.sim.nodes import npus
from tests.sim.stack import Stack
from tests.system.scene import config, served

pytestmark = pytest.mark.system

PF, NPU, NEW_NPU = "0000:3b:00.0", "0000:20:00.0", "0000:21:00.0"
VFIO = "0000:5e:00.0"
VFS = [f"0000:3b:02.{n}" for n in range(4)]


def build(node: SimNode) -> None:
    node.add(
        *npus(2),
        SimDevice(
            PF,
            vendor="15b3",
            device="1017",
            code="020000",
            driver="mlx5_core",
            net=("p0",),
            totalvfs=8,
            rdma=Rdma("mlx5_0", 0),
            sfs=(Subfunction("mlx5_core.sf.4", 88, ("en3f0s88",), Rdma("mlx5_4", 4)),),
        ),
        SimDevice(VFIO, "15b3", "1017", "020000", "vfio-pci", iommu=12),
        SimDevice("0000:00:1f.2", "8086", "a102", "010601", "ahci", iommu=13),
        *(
            SimDevice(
                bdf,
                vendor="15b3",
                device="1018",
                code="020000",
                driver="mlx5_core",
                pf=PF,
                net=(f"p0v{n}",),
            )
            for n, bdf in enumerate(VFS)
        ),
    )


def pool(name: str, device_type: str, *selectors: dict[str, Any]) -> dict[str, object]:
    return {"resourceName": name, "deviceType": device_type, "selectors": selectors}


ATOM = pool("atom", "accelerator", {"pciAddresses": [NPU]})
NICS = pool("nics", "netDevice", {"vendors": ["8086"]}, {"pfNames": ["p0#0-2"]})
SFS = pool("sfs", "auxNetDevice", {"auxTypes": ["sf"]})


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(config(ATOM, NICS, SFS), build) as stack:
        served(stack, "intel.com/atom", "intel.com/nics", "intel.com/sfs")
        yield stack


def explained(stack: Stack, device: str) -> dict[str, Any]:
    done = stack.ctl("explain", device, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ("asked", "device", "pool_name", "selector"),
    [
        (NPU, NPU, "intel.com/atom", 0),
        (VFS[2], VFS[2], "intel.com/nics", 1),
        ("3B:02.0", VFS[0], "intel.com/nics", 1),
        ("p0v1", VFS[1], "intel.com/nics", 1),
        ("mlx5_core.sf.4", "mlx5_core.sf.4", "intel.com/sfs", 0),
        (VFS[3], VFS[3], None, None),
        (NEW_NPU, NEW_NPU, None, None),
    ],
)
def test_what_has_a_device(
    stack: Stack, asked: str, device: str, pool_name: str | None, selector: int | None
) -> None:
    told = explained(stack, asked)
    assert (told["device"], told["pool"], told["selector"]) == (device, pool_name, selector)


@pytest.mark.parametrize(
    ("name", "device", "note"),
    [
        ("rbln1", NEW_NPU, "rbln1 is rbln1 of the class rebellions: 0000:21:00.0"),
        ("/dev/rbln0", NPU, "/dev/rbln0 is rbln0 of the class rebellions: 0000:20:00.0"),
        ("/dev/vfio/12", VFIO, "/dev/vfio/12 is the IOMMU group 12: 0000:5e:00.0"),
        ("12", VFIO, "12 is the IOMMU group 12: 0000:5e:00.0"),
        ("iommu group 50", NPU, "iommu group 50 is the IOMMU group 50: 0000:20:00.0"),
        ("/sys/kernel/iommu_groups/51/", NEW_NPU, "… is the IOMMU group 51: 0000:21:00.0"),
        ("/dev/infiniband/uverbs0", PF, "… is uverbs0 of the class infiniband_verbs: " + PF),
        ("umad4", "mlx5_core.sf.4", "umad4 is umad4 of the class infiniband_mad: mlx5_core.sf.4"),
        ("mlx5_0", PF, f"mlx5_0 is an RDMA device of {PF}"),
        ("mlx5_4", "mlx5_core.sf.4", "mlx5_4 is an RDMA device of mlx5_core.sf.4"),
        (f"/sys/bus/pci/devices/{NPU}/", NPU, f"… is read as {NPU}"),
        ("/sys/class/net/p0v1", VFS[1], f"… is an interface of {VFS[1]}"),
    ],
)
def test_any_name_of_a_device_will_do(stack: Stack, name: str, device: str, note: str) -> None:
    told = explained(stack, name)
    assert told["device"] == device
    assert told["notes"][0].endswith(note.removeprefix("…"))
    done = stack.ctl("explain", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{device}  ")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("/dev/rsd0", "is a node that all devices of its kind share; it belongs to no device"),
        ("/dev/vfio/99", "/dev/vfio/99 is the IOMMU group 99; it belongs to no device"),
        ("13", "13 is the IOMMU group 13: 0000:00:1f.2; 0000:00:1f.2: no such device"),
        ("/dev/null", "/dev/null: no such device"),
        ("../../etc/passwd", "../../etc/passwd: no such device"),
        ("/dev/\udcff", "no such device"),
        ("", ": no such device"),
        ("x" * 5000, "no such device"),
    ],
)
def test_a_name_of_no_device(stack: Stack, name: str, error: str) -> None:
    done = stack.ctl("explain", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert error in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_mismatch_of_each_selector_object_is_listed(stack: Stack) -> None:
    done = stack.ctl("explain", VFS[3])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:6] == [
        f"{VFS[3]}  netDevice  in no pool: it matches no pool's selectors",
        "",
        "RESOURCE        DECISION    SELECTORS     REASON",
        "intel.com/atom  other type                its deviceType is not netDevice",
        "intel.com/nics  rejected    selectors[0]  vendors: it has 15b3, expected 8086",
        "                            selectors[1]  pfNames: it has p0#3, expected p0#0-2",
    ]


def test_a_pf_that_has_given_its_place_away(stack: Stack) -> None:
    told = explained(stack, PF)
    assert told["refusal"] == RefusalReason.VFS_ENABLED.value
    assert told["detail"] == RefusalReason.VFS_ENABLED.text


def test_a_device_that_is_not_there(stack: Stack) -> None:
    done = stack.ctl("explain", "0000:99:00.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rbln-ctl: 0000:99:00.0: no such device")
    assert len(done.stderr.splitlines()) == 1


def test_what_another_file_would_do(stack: Stack, tmp_path: Path) -> None:
    """It asks for what no pool asks for now, and still it is known; and nothing is done."""
    path = tmp_path / "config.json"
    first = pool("first", "netDevice", {"isRdma": False, "rootDevices": [f"{PF}#2-3"]})
    npu = pool("atom", "accelerator", {"acpiIndexes": ["7"]})
    path.write_text(json.dumps(config(first, NICS, npu)))
    before = stack.status().pools
    done = stack.ctl("validate", str(path), "--against-host", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["valid"]
    assert {
        name: (each["change"], each["devices"]) for name, each in answer["plan"]["pools"].items()
    } == {
        "intel.com/first": ("added", VFS[2:]),
        "intel.com/nics": ("unchanged", VFS[:2]),
        "intel.com/atom": ("changed", []),
        "intel.com/sfs": ("removed", []),
    }
    assert answer["plan"]["moves"] == [
        {"device": NPU, "before": "intel.com/atom", "after": None},
        {"device": VFS[2], "before": "intel.com/nics", "after": "intel.com/first"},
        {"device": VFS[3], "before": None, "after": "intel.com/first"},
        {"device": "mlx5_core.sf.4", "before": "intel.com/sfs", "after": None},
    ]
    assert answer["plan"]["stay"] == 2
    assert {name: each.devices for name, each in stack.status().pools.items()} == {
        name: each.devices for name, each in before.items()
    }


def test_a_dry_run_does_what_a_reload_does(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(ATOM, NICS, SFS)))
    done = stack.ctl("validate", str(path), "--against-host")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 devices in the same pool as before, none in another one\n" in done.stdout


def test_a_wrong_file_is_refused_as_by_a_reload(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    wrong = pool("nics", "netDevice", {"pfNames": ["p0#0", "p0#3-1"]})
    path.write_text(json.dumps(config(ATOM, wrong)))
    done = stack.ctl("validate", str(path), "--against-host")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f'{path}: resourceList[1].selectors[0].pfNames[1]: expected like p0#0,2-7,9, got "p0#3-1"\n'
    )


def test_the_largest_file_reaches_the_supervisor(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = json.dumps(config(ATOM, NICS, SFS))
    path.write_text(text + " " * (MAX_BYTES - len(text)))
    done = stack.ctl("validate", str(path), "--against-host")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_device_that_was_unplugged_is_explained_while_it_is_listed() -> None:
    with Stack(config(ATOM, NICS, SFS), build) as stack:
        served(stack, "intel.com/atom", "intel.com/nics", "intel.com/sfs")
        stack.node.remove(VFS[0])
        assert stack.ctl("rescan").returncode == 0
        told = explained(stack, VFS[0])
        assert told["refusal"] == RefusalReason.GONE.value
        assert told["notes"] == ["intel.com/nics lists it as Unhealthy for a while: unplugged"]
