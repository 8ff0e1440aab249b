"""Pods of a simulated kubelet: admitted by Allocate, started by what the checkpoint says.

As pkg/kubelet/cm/devicemanager does it: the answer of Allocate is kept in the checkpoint and given
again at each start of the container, after PreStartContainer where the plugin asks for that. An
entry of a pod that has ended stays until the next allocation.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import pods_pb2

if TYPE_CHECKING:
    from tests.sim.kubelet import SimKubelet

STARTED_AT: Final = 1_790_000_000


class SimPod(msgspec.Struct, frozen=True):
    """A pod of one container."""

    name: str
    resource: str
    devices: tuple[str, ...]
    given: bytes
    """The answer of Allocate."""
    namespace: str = "ml"
    container: str = "main"

    @property
    def uid(self) -> str:
        """Its UID."""
        return f"uid-{self.namespace}-{self.name}"

    @property
    def answer(self) -> pb.ContainerAllocateResponse:
        """What its container is given at each start."""
        return pb.ContainerAllocateResponse.FromString(self.given)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The host's nodes among that."""
        return tuple(sorted(device.host_path for device in self.answer.devices))


class SimPods:
    """The pods of a kubelet."""

    def __init__(self, kubelet: "SimKubelet") -> None:
        self._kubelet = kubelet
        self._living: dict[str, SimPod] = {}
        self._phase: dict[str, str] = {}
        self._entries: list[SimPod] = []
        """Of the checkpoint."""

    @property
    def checkpoint(self) -> Path:
        """The kubelet's checkpoint."""
        return self._kubelet.plugins / "kubelet_internal_checkpoint"

    @property
    def living(self) -> frozenset[str]:
        """The names of the pods that have not ended."""
        return frozenset(self._living)

    def admit(self, name: str, resource: str, devices: Iterable[str]) -> SimPod:
        """Admit a pod whose container gets these devices; grpc.RpcError where Allocate fails."""
        ids = tuple(devices)
        self._entries = [one for one in self._entries if one.name in self._living]
        response = self._kubelet.allocate(resource, [ids])
        pod = SimPod(name, resource, ids, response.container_responses[0].SerializeToString())
        self._living[name] = pod
        self._entries.append(pod)
        self.write_checkpoint()
        self._kubelet.pods.hold(resource, ids, pod=name)
        self.show(pod, "Pending")
        return pod

    def show(self, pod: SimPod, phase: str = "Running") -> None:
        """Tell who watches of a pod, with the health that its status shows."""
        self._phase[pod.name] = phase
        health = self.health(pod)
        status = pods_pb2.ContainerStatus(
            name=pod.container,
            allocated_resources_status=[
                pods_pb2.ResourceStatus(
                    name=pod.resource,
                    resources=[pods_pb2.ResourceHealth(resource_id=one) for one in health],
                )
            ],
        )
        self._kubelet.pods_api.put(
            pods_pb2.Pod(
                metadata=pods_pb2.ObjectMeta(name=pod.name, namespace=pod.namespace, uid=pod.uid),
                status=pods_pb2.PodStatus(
                    phase=phase,
                    start_time=pods_pb2.Time(seconds=STARTED_AT),
                    container_statuses=[status],
                ),
            )
        )

    def health(self, pod: SimPod) -> Mapping[str, str]:
        """``allocatedResourcesStatus``: a device that is not in the list is shown Healthy."""
        listed = self._kubelet.resource(pod.resource).devices
        return {one: listed[one].health if one in listed else "Healthy" for one in pod.devices}

    def start_container(self, name: str) -> tuple[str, ...]:
        """Start a pod's container again, in place: the nodes that it gets.

        grpc.RpcError where the plugin asks for PreStartContainer and refuses.
        """
        pod = self._living[name]
        if self._kubelet.options(pod.resource).pre_start_required:
            self._kubelet.prestart(pod.resource, pod.devices)
        self.show(pod)
        return pod.nodes

    def end(self, name: str) -> None:
        """All containers of a pod have ended; its entry in the checkpoint stays."""
        self.show(self._living.pop(name), "Succeeded")
        self._release()

    def delete(self, name: str) -> None:
        """A pod is deleted; its entry in the checkpoint stays."""
        pod = self._living.pop(name)
        self._kubelet.pods_api.delete(pod.uid)
        self._release()

    def _release(self) -> None:
        self._kubelet.pods.release()
        for pod in self._living.values():
            self._kubelet.pods.hold(pod.resource, pod.devices, pod=pod.name)

    def write_checkpoint(self) -> None:
        """Replace the checkpoint as the kubelet does: made aside, then renamed."""
        entries: list[dict[str, Any]] = [
            {
                "PodUID": pod.uid,
                "ContainerName": pod.container,
                "ResourceName": pod.resource,
                "DeviceIDs": {"-1": list(pod.devices)},
                "AllocResp": base64.b64encode(pod.given).decode(),
            }
            for pod in self._entries
        ]
        text = json.dumps(
            {"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 1}
        )
        aside = self.checkpoint.with_name(".kubelet_internal_checkpoint.1")
        aside.write_text(text)
        aside.chmod(0o600)
        aside.replace(self.checkpoint)
