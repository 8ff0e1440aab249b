"""The question to the kubelet who has what, put to a real gRPC peer."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

from rbln_worker.contract.pod_devices import MAX_NAME, PodDevice, ResourceHolders
from rbln_worker.kubelet.api import podresources_pb2 as pb
from rbln_worker.kubelet.pod_resources import list_pod_devices
from tests.sim.pod_resources import PodResources


@pytest.fixture
def pods() -> Iterator[PodResources]:
    with TemporaryDirectory(dir="/tmp", prefix="rbk-") as folder:
        pods = PodResources(Path(folder))
        pods.start()
        yield pods
        pods.stop()


def test_who_has_what(pods: PodResources) -> None:
    pods.hold("a/x", ["d2", "d1"], pod="p", container="c")
    pods.hold("a/y", ["d1"], pod="q", container="c")
    pods.hold("a/z", ["d9"])
    assert list_pod_devices(pods.socket, {"a/x", "a/y"}) == ResourceHolders(
        (
            PodDevice("a/x", "d1", "ml", "p", "c"),
            PodDevice("a/x", "d2", "ml", "p", "c"),
            PodDevice("a/y", "d1", "ml", "q", "c"),
        )
    )
    assert list_pod_devices(pods.socket, {"a/x2"}) == ResourceHolders()


def test_claims_are_listed_whatever_is_asked_for(pods: PodResources) -> None:
    pods.hold("a/x", ["d1"])
    pods.hold_claim("npu.x.io", ["0000-3b-00-0", "gpu-1"], pod="p", claim="c")
    assert list_pod_devices(pods.socket, set()).holdings == (
        PodDevice("npu.x.io", "0000:3b:00.0", "ml", "p", "main", claim="ml/c"),
        PodDevice("npu.x.io", "gpu-1", "ml", "p", "main", claim="ml/c"),
    )


def test_names_that_are_too_long_are_cut(pods: PodResources) -> None:
    pods.hold("a/x", ["d1"], pod="p" * 100_000, container="c" * 100_000)
    (one,) = list_pod_devices(pods.socket, {"a/x"}).holdings
    assert (len(one.pod), len(one.container)) == (MAX_NAME, MAX_NAME)


def test_many_pods(pods: PodResources) -> None:
    for number in range(500):
        pods.hold("a/x", [f"d{number}.{index}" for index in range(20)], pod=f"p{number}")
    assert len(list_pod_devices(pods.socket, {"a/x"}).holdings) == 10_000


def test_fields_that_are_newer_than_we_are(pods: PodResources) -> None:
    pods.hold("a/x", ["d1"])
    known = pb.ListPodResourcesResponse(pod_resources=pods._pods).SerializeToString()
    pods.garbage = known + b"\x7a\x03abc"  # field 15
    assert len(list_pod_devices(pods.socket, {"a/x"}).holdings) == 1


def test_nobody_to_ask(tmp_path: Path) -> None:
    socket = tmp_path / "kubelet.sock"
    assert list_pod_devices(socket, set()) == ResourceHolders(absent=f"{socket}")
    (tmp_path / "file").touch()
    assert list_pod_devices(tmp_path / "file" / "kubelet.sock", set()).absent
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert list_pod_devices(loop, set()) == ResourceHolders(
        unknown=f"{loop}: Too many levels of symbolic links"
    )


def test_something_else_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "kubelet.sock"
    file.write_text("no socket")
    why = list_pod_devices(file, set()).unknown
    assert why is not None
    assert why.startswith(f"{file}: List: UNAVAILABLE: ")


def test_a_silence_is_bounded(pods: PodResources) -> None:
    pods.hang()
    began = monotonic()
    why = list_pod_devices(pods.socket, set(), within_s=0.2).unknown
    assert monotonic() - began < 10
    assert why is not None
    assert why.startswith(f"{pods.socket}: List: DEADLINE_EXCEEDED")
