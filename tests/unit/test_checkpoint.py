"""The kubelet's checkpoint, read from bytes of any kind."""

import base64
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.pod_devices import PodDevice
from rbln_worker.kubelet import checkpoint
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb

ATOM, A, B = "rebellions.ai/ATOM", "0000:20:00.0", "0000:21:00.0"
INFO = "PCIDEVICE_REBELLIONS_AI_ATOM_INFO"


def answer(
    infos: object, nodes: dict[str, str], *, cdi: tuple[str, ...] = (), key: str = INFO
) -> str:
    response = pb.ContainerAllocateResponse(
        envs={key: infos if isinstance(infos, str) else json.dumps(infos)},
        devices=[
            pb.DeviceSpec(container_path=inside, host_path=outside, permissions="rw")
            for inside, outside in nodes.items()
        ],
        cdi_devices=[pb.CDIDevice(name=one) for one in cdi],
    )
    return base64.b64encode(response.SerializeToString()).decode()


def entry(**changes: object) -> dict[str, object]:
    return {
        "PodUID": "u1",
        "ContainerName": "main",
        "ResourceName": ATOM,
        "DeviceIDs": {"-1": [A]},
        "AllocResp": answer(
            {A: {"rebellions": {"mount": "/dev/rbln2"}}},
            {"/dev/rbln2": "/dev/rbln2", "/dev/rsd0": "/dev/rsd0"},
        ),
    } | changes


def text(*entries: object) -> bytes:
    data = {"PodDeviceEntries": list(entries), "RegisteredDevices": {ATOM: [A, B]}}
    return json.dumps({"Data": data, "Checksum": 4125}).encode()


HELD = PodDevice(ATOM, A, container="main", uid="u1", paths=("/dev/rbln2",))


def test_an_entry_names_pod_device_and_the_nodes_of_that_device() -> None:
    assert checkpoint.parse_checkpoint(text(entry())) == ((HELD,), "")


def test_each_device_has_its_own_nodes() -> None:
    infos = {
        A: {"rebellions": {"mount": "/dev/rbln2"}},
        B: {"rebellions": {"mount": "/dev/rbln0"}},
    }
    nodes = {path: path for path in ("/dev/rbln2", "/dev/rbln0", "/dev/rsd0")}
    found = checkpoint.parse_checkpoint(
        text(entry(DeviceIDs={"0": [A], "1": [B]}, AllocResp=answer(infos, nodes)))
    )
    assert [one.paths for one in found.devices] == [("/dev/rbln2",), ("/dev/rbln0",)]


def test_a_path_is_the_hosts_and_shared_nodes_are_nobodys() -> None:
    info = {"vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/7", "n": 7}}
    nodes = {"/dev/vfio/vfio": "/dev/vfio/vfio", "/dev/vfio/7": "/dev/vfio/noiommu-7"}
    found = checkpoint.parse_checkpoint(text(entry(AllocResp=answer({A: info}, nodes))))
    assert found.devices[0].paths == ("/dev/vfio/noiommu-7",)


def test_what_the_configuration_says_is_no_path() -> None:
    info = {"extra": {"log": "/dev/rsd0"}, "extraInfo": {"log": "/dev/rsd0"}}
    found = checkpoint.parse_checkpoint(
        text(entry(AllocResp=answer({A: info}, {"/dev/rsd0": "/dev/rsd0"})))
    )
    assert found.devices[0].paths == ()


def test_with_cdi_there_are_no_paths() -> None:
    found = checkpoint.parse_checkpoint(
        text(
            entry(
                AllocResp=answer(
                    {A: {"rebellions": {"mount": "/dev/rbln2"}}},
                    {},
                    cdi=("rebellions.ai/net-accel=x",),
                )
            )
        )
    )
    assert [(one.paths, one.cdi) for one in found.devices] == [((), True)]


def test_before_1_20_devices_were_a_list() -> None:
    assert checkpoint.parse_checkpoint(text(entry(DeviceIDs=[A]))).devices == (HELD,)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        7,
        None,
        entry(PodUID=3),
        entry(PodUID=""),
        entry(DeviceIDs={"0": A}),
        entry(DeviceIDs={"0": ["x" * 300]}),
        entry(AllocResp="no base64"),
        entry(AllocResp=base64.b64encode(b"\xff\xff\xff").decode()),
    ],
)
def test_an_entry_that_is_none_is_left_out_and_said(wrong: object) -> None:
    assert checkpoint.parse_checkpoint(text(wrong, entry())) == ((HELD,), "1 entry can't be read")


@pytest.mark.parametrize(
    "infos", ["", "{", "[]", "7", json.dumps({A: 1}), json.dumps({A: {"x": 1}})]
)
def test_a_variable_that_is_no_object_names_no_path(infos: str) -> None:
    found = checkpoint.parse_checkpoint(
        text(entry(AllocResp=answer(infos, {"/dev/rbln2": "/dev/rbln2"})))
    )
    assert [(one.device, one.paths, found.problem) for one in found.devices] == [(A, (), "")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        text(entry())[:-40],
        b"[]",
        b"null",
        b'{"Data": 3}',
        b'{"PodDeviceEntries": []}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_checkpoint_says_nothing(raw: bytes) -> None:
    assert checkpoint.parse_checkpoint(raw) == ((), "not a checkpoint that this version can read")


def test_an_empty_one_is_well() -> None:
    assert checkpoint.parse_checkpoint(b'{"Data": {"PodDeviceEntries": null}}') == ((), "")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    checkpoint.parse_checkpoint(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["PodUID", "DeviceIDs", "AllocResp", "ResourceName", "ContainerName"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=8,
    )
)
def test_any_entries_are_read_or_left_out(one: object) -> None:
    found = checkpoint.parse_checkpoint(text(one, entry()))
    assert HELD in found.devices or msgspec.json.encode(one) == b"null"


def test_files_of_all_kinds(tmp_path: Path) -> None:
    assert checkpoint.read_checkpoint(tmp_path / "none") == ((), "")
    path = tmp_path / checkpoint.FILE
    assert checkpoint.read_checkpoint(tmp_path) == ((), "")
    path.write_bytes(text(entry()))
    assert checkpoint.read_checkpoint(tmp_path) == ((HELD,), "")
    path.write_bytes(b"{")
    assert checkpoint.read_checkpoint(tmp_path).problem.startswith(f"{path}: not a checkpoint")
    path.unlink()
    os.mkfifo(path)
    assert checkpoint.read_checkpoint(tmp_path).problem == f"{path}: not a regular file"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert checkpoint.read_checkpoint(tmp_path).devices == ()
    path.unlink()
    path.mkdir()
    assert checkpoint.read_checkpoint(tmp_path).problem
    path.rmdir()
    path.touch()
    os.truncate(path, checkpoint.MAX_BYTES + 1)
    assert "longer than" in checkpoint.read_checkpoint(tmp_path).problem
