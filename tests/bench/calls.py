"""What the kubelet waits for: Allocate and GetPreferredAllocation, from the call to the answer."""

import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Final

import grpc

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.bench.floor import floor
from tests.bench.measuring import figure
from tests.bench.scene import CARD
from tests.bench.values import Figure
from tests.sim.kubelet import CALL_DEADLINE_S, SimKubelet
from tests.sim.plugin_client import PluginClient
from tests.sim.rpc import code_of

PAIR: Final = 2


def allocate_and_floor(
    kubelet: SimKubelet, resource: str, calls: int
) -> tuple[list[float], list[float]]:
    """Seconds of Allocate, and of an empty server with the same answer: one call each in turn."""
    ids = sorted(kubelet.resource(resource).devices)[:PAIR]
    answer = kubelet.allocate(resource, [ids])

    def of_floor(client: PluginClient) -> None:
        one = pb.ContainerAllocateRequest(devicesIDs=ids)
        request = pb.AllocateRequest(container_requests=[one])
        client.call("Allocate", request, pb.AllocateResponse, CALL_DEADLINE_S)

    ours: list[float] = []
    empty: list[float] = []
    with floor(answer) as client:
        for _ in range(calls):
            ours += _timed(1, lambda: kubelet.allocate(resource, [ids]))
            empty += _timed(1, lambda: of_floor(client))
    return ours, empty


def allocate(kubelet: SimKubelet, resource: str, calls: int) -> list[float]:
    """Seconds; each call is for the next two devices of the pool."""
    ids = sorted(kubelet.resource(resource).devices)
    pairs = itertools.cycle([ids[n : n + PAIR] for n in range(0, len(ids), PAIR)])
    return _timed(calls, lambda: kubelet.allocate(resource, [next(pairs)]))


def prefer(kubelet: SimKubelet, resource: str, calls: int) -> list[float]:
    """Seconds; all of the pool is free."""
    ids = sorted(kubelet.resource(resource).devices)
    return _timed(calls, lambda: kubelet.preferred(resource, ids, [], CARD))


def answered(
    call: Callable[[SimKubelet, str, int], list[float]],
    kubelet: SimKubelet,
    resource: str,
    calls: int,
) -> tuple[list[float], str]:
    """The samples; or none, and the status with which the plugin refuses."""
    try:
        return call(kubelet, resource, calls), ""
    except grpc.RpcError as error:
        return [], code_of(error)


def figure_of(
    name: str,
    size: str,
    call: Callable[[SimKubelet, str, int], list[float]],
    kubelet: SimKubelet,
    resource: str,
    calls: int,
) -> Figure:
    """The figure of calls."""
    samples, why = answered(call, kubelet, resource, calls)
    return figure(name, size, "s", samples, why)


def _timed(calls: int, call: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(calls):
        began = perf_counter()
        call()
        took.append(perf_counter() - began)
    return took
