"""What fuzzing begins with: real samples of each kind, made anew from where they are.

Configurations are those of conf/ and of the recorded cases in tests/conformance; netlink is that of
tests/sim/netlink_frames (Linux 6.18); frames and files are what today's code encodes, so that none
of them is of an older version. What fuzzing once found lies in tests/fuzz/found.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from rbln_supervisor.config.accepted import Record
from rbln_supervisor.core.control import protocol
from rbln_supervisor.core.matching.explain import Decision, Explanation, PoolDecision
from rbln_supervisor.core.matching.plan import Move, Plan, PoolPlan
from rbln_supervisor.core.matching.selector_match import Mismatch
from rbln_supervisor.core.reporting.metrics import (
    DiscoveryMetrics,
    PoolMetrics,
    SupervisorMetrics,
)
from rbln_supervisor.core.reporting.unavailability import LossCause
from rbln_supervisor.core.status import (
    CounterName,
    DeviceStatus,
    NodeStatus,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.doctor.examination import SECTIONS, SectionResult
from rbln_supervisor.options import Options
from rbln_worker.contract import messages
from rbln_worker.contract.counters import Calls, WorkerCounters
from rbln_worker.contract.device import Carrier, Device
from rbln_worker.contract.events import Event
from rbln_worker.contract.health import Judged, Verdict
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.contract.problem import Code, make_problem
from rbln_worker.host.netlink import codec
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import podresources_pb2, pods_pb2
from tests.fuzz.kernel import DEVICE
from tests.sim import netlink_frames as frames

REPOSITORY: Final = Path(__file__).parents[2]
FOUND: Final = Path(__file__).parent / "found"
"""What was found, by target: each a defect that was mended."""

_POOL: Final = PoolName("rebellions.ai/ATOM")
_ID: Final = DEVICE.id
_SPEC: Final = PoolSpec("rebellions.ai", "ATOM", "accelerator")
_LINKED: Final = Device(DEVICE.id, DEVICE.function, carriers=(Carrier("eth0", "own", up=True),))
_PROBLEM: Final = make_problem(Code.POOL_EMPTY, "a problem", _POOL, ("evidence",))
_STATUS: Final = NodeStatus(
    SupervisorStatus(
        7, "0.1.0", 75.5, ready=False, problems=(_PROBLEM,), counters={CounterName.RELOADS: 1}
    ),
    {
        _POOL: PoolStatus(
            *("serving", True, "kubelet-sock", "why", "s.sock"),
            worker=WorkerStatus(7, 1, "killed by SIGKILL", ("line",), 0.5, 1, "0.1.0"),
            devices={_ID: DeviceStatus("Unhealthy", "status 3", 0, source="npu-status", since=9.5)},
        )
    },
)
_EVENT: Final = Event(1.5e9, "device", "Unhealthy", _POOL, _ID, "link", "down")
_PLAN: Final = Plan({_POOL: PoolPlan("changed", (_ID,))}, (Move(_ID, _POOL, None),))


def seeds(target: str) -> tuple[bytes, ...]:
    """Real samples for a target, and what was found there."""
    folder = FOUND / target
    found = [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.is_dir() else []
    return (*_SEEDS.get(target, ()), *found)


def _configurations() -> tuple[bytes, ...]:
    conf = [path.read_bytes() for path in sorted((REPOSITORY / "conf").glob("*.[jy]*"))]
    cases = sorted((REPOSITORY / "tests/conformance").glob("*.json"))
    recorded = [json.dumps(json.loads(path.read_text())["config"]).encode() for path in cases]
    slips = (
        b'{"resourceList": [{"resourceName": "A", /* why */ "selectors": {"drivers": ["a",],}},]}',
        b"# YAML\nresourceList:\n- resourceName: A\n  selectors: {pfNames: ['p0#0-3']}\n",
        b'\xef\xbb\xbf{"resourceList": NaN, "a": "\\ud800", "token": "secret-value-of-mine"}',
        b"password=hunter2 https://user:secret@host/ Bearer eyJhbGciOi.eyJzdWIi.c2ln --api-key x",
    )
    return (*conf, *recorded, *slips)


def _sections() -> bytes:
    results = (SectionResult(section, (_PROBLEM,), {"host/x.txt": "x"}) for section in SECTIONS)
    return b"\n".join(map(msgspec.json.encode, results))


_MESSAGES: Final[tuple[messages.ToSupervisor, ...]] = (
    messages.Hello(_POOL, 7, "life", "0.1.0", "session", 3, "digest"),
    messages.StateReport(_SPEC, (_LINKED,)),
    messages.Report(messages.Phase.REGISTERED, devices=(Judged(_ID, Verdict(healthy=True)),)),
    messages.Heartbeat("session", 3),
    WorkerCounters(calls={"Allocate": Calls({"OK": 3})}, allocated=7),
)
_STATES: Final[tuple[messages.ToWorker, ...]] = (
    messages.Snapshot("session", 3, _SPEC, (_LINKED,)),
    messages.CheckDevices((_ID,)),
    messages.StateRequest(),
)
_REQUESTS: Final[tuple[protocol.Request, ...]] = (
    *(protocol.Status(), protocol.Metrics(), protocol.Reload(force=True), protocol.Rescan()),
    protocol.Explain(_ID),
    protocol.DryRun(b'{"resourceList": []}', "intel.com"),
)
_REPLIES: Final[tuple[protocol.Reply, ...]] = (
    protocol.StatusReply(_STATUS),
    protocol.MetricsReply(
        SupervisorMetrics(
            *(_STATUS, DiscoveryMetrics()),
            {
                _POOL: PoolMetrics(
                    WorkerCounters(), {"SIGKILL": 2}, lost=((LossCause("unhealthy", "link"), 2.5),)
                )
            },
        )
    ),
    protocol.ReloadReply(_PLAN),
    protocol.RescanReply(3, (_POOL,), (_PROBLEM,)),
    protocol.ExplainReply(
        Explanation(
            *(_ID, "accelerator"),
            pools=(
                PoolDecision(_POOL, Decision.REJECTED, None, (Mismatch("drivers", ("a",), "b"),)),
            ),
            values={"drivers": "b"},
            notes=("a note",),
        )
    ),
    protocol.DryRunReply(_PLAN, ("e",), ("w",), ("h",)),
    protocol.ErrorReply(("no",)),
)
_PODS: Final = podresources_pb2.ListPodResourcesResponse(
    pod_resources=[
        podresources_pb2.PodResources(
            name="p",
            namespace="n",
            containers=[
                podresources_pb2.ContainerResources(
                    name="c",
                    devices=[
                        podresources_pb2.ContainerDevices(resource_name=_POOL, device_ids=[_ID])
                    ],
                )
            ],
        )
    ]
)
_POD_EVENT: Final = pods_pb2.WatchPodsEvent(
    type=pods_pb2.ADDED,
    pod=pods_pb2.Pod(
        metadata=pods_pb2.ObjectMeta(name="p", namespace="n", uid="u"),
        status=pods_pb2.PodStatus(phase="Running", start_time=pods_pb2.Time(seconds=1)),
    ).SerializeToString(),
)
_CHECKPOINT: Final = (
    b'{"Data": {"PodDeviceEntries": [{"PodUID": "u", "ContainerName": "c", "ResourceName": "r", '
    b'"DeviceIDs": {"-1": ["0000:20:00.0"]}, "AllocResp": "CgYKAWESAWI="}]}, "Checksum": 1}'
)
_ALLOCATE: Final = pb.AllocateRequest(
    container_requests=[
        pb.ContainerAllocateRequest(devicesIDs=["0000:20:00.0", "0000:21:00.0"]),
        pb.ContainerAllocateRequest(devicesIDs=["0000:30:00.0"]),
    ]
)
_PREFER: Final = pb.PreferredAllocationRequest(
    container_requests=[
        pb.ContainerPreferredAllocationRequest(
            available_deviceIDs=["0000:20:00.0", "0000:21:00.0", "0000:22:00.0"],
            must_include_deviceIDs=["0000:20:00.0"],
            allocation_size=2,
        )
    ]
)
_DDP: Final = (
    b'{"DDPInventory": {"device": "1592", "DDPpackage": {"name": "ICE COMMS", "version": "1"}}}'
)
_PARAMETER: Final = codec.encode_text(2, "0000:03:00.0") + frames.encode_nested(
    80,
    codec.encode_text(81, "enable_rdma"),
    frames.encode_nested(84, frames.encode_nested(85, codec.encode_attribute(86, b""))),
)
_RUNNING: Final = frames.encode_nested(
    101, codec.encode_text(103, "fw.app.name"), codec.encode_text(104, "ICE COMMS")
)
_NETLINK: Final = (frames.LINK, frames.ROUTE, frames.NEXTHOP)
_ERROR: Final = codec.encode_request(2, 0, 0, (-95).to_bytes(4, "little", signed=True))
_FAMILY: Final = codec.encode_request(
    16, 0, 0, b"\1\2\0\0" + codec.encode_attribute(1, b"\x1c\0") + codec.encode_text(2, "devlink")
)
_CONFIGURATIONS: Final = _configurations()

_SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "document": _CONFIGURATIONS,
    "yaml": _CONFIGURATIONS,
    "configuration": _CONFIGURATIONS,
    "functions": (b"p0", b"p0#1-5", b"0000:03:00.0#0,2-7,9", b"#", b"p#1#2", b"p#5-3"),
    "request": tuple(map(protocol.encode, _REQUESTS)),
    "answer": tuple(map(protocol.encode, _REPLIES)),
    "to-supervisor": tuple(map(messages.encode_message, _MESSAGES)),
    "to-worker": tuple(map(messages.encode_message, _STATES)),
    "look": (
        msgspec.msgpack.encode(
            DiscoveryResult(NodeInventory({DEVICE.function.bdf: DEVICE.function}))
        ),
        msgspec.msgpack.encode(DiscoveryResult(failed="why")),
    ),
    "sections": (
        _sections(),
        b'{"limits": {"inotify_instances": 3}}\n{"kubelet": "no time"}\n',
        b'{"x',
    ),
    "pods": (_PODS.SerializeToString(),),
    "pods-api": (_POD_EVENT.SerializeToString(),),
    "checkpoint": (_CHECKPOINT,),
    "allocate": (_ALLOCATE.SerializeToString(),),
    "prefer": (_PREFER.SerializeToString(),),
    "uevent": (frames.UEVENT, frames.UDEV, b"add@/devices/pci0000:00/x\0SUBSYSTEM=net\0"),
    "links": (*_NETLINK, frames.LINK + bytes(-len(frames.LINK) % 4) + frames.LINK),
    "routes": tuple(frame[16:] for frame in _NETLINK),
    "question": (*_NETLINK, _ERROR, _FAMILY + _ERROR, codec.encode_request(3, 0, 0, b"")),
    "devlink": (_PARAMETER, _RUNNING, codec.encode_attribute(25, b"\1\0")),
    "ddp": (_DDP, b"", b'{"DDPInventory": {}}'),
    "device-files": (
        b"active\n\0TOTAL_ERR_FATAL 3\n\x003\n\0\xff\x0032.0 GT/s PCIe\n\x0016\n"
        b"\x0032.0 GT/s\n\x0016\n\x003.0.0",
        b"suspended\n\0\x002\n\0\0002.5 GT/s\n\x004\n\x0032.0 GT/s\n\x0016\n\x003.6.1",
    ),
    "events": (msgspec.json.encode(_EVENT) + b"\n" + msgspec.json.encode(_EVENT)[:20],),
    "ledger": (b'{"/var/run/cdi/rebellions.ai_ATOM.yaml": [12, 1764000000000000000]}',),
    "options": (msgspec.json.encode(Options(), enc_hook=str),),
    "accepted": (
        msgspec.json.encode(
            Record(
                1,
                os.uname().nodename,
                "/nowhere/config.json",
                "intel.com",
                b'{"resourceList": [{"resourceName": "a", "selectors": {}}]}',
                datetime(2026, 1, 1, tzinfo=UTC),
            )
        ),
    ),
    "lock": (b"7 0123456789abcdef", b"4194305 x", b"0 x", b"7"),
    "api-answer": (
        b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}',
        b'{"type":"ADDED","object":{"metadata":{"name":"one","resourceVersion":"7"}}}',
        b'{"type":"ERROR","object":{"code":410,"reason":"Expired"}}',
        b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}',
        b"17",
    ),
    "kubeconfig": (
        b'{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"c","user":"u"}}],'
        b'"clusters":[{"name":"c","cluster":{"server":"https://h:1"}}],'
        b'"users":[{"name":"u","user":{"token":"t"}}]}',
        b"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n",
    ),
    "agent-state": (
        b'{"positions":{"1:2":3},"series":{"k":{"name":"n","count":1,"last_at":5.0}},"outbox":['
        b'{"key":"k","namespace":"default","name":"n","body":{},"count":2,"last_at":5.0}]}',
        b'{"history":{"failures":{"pool device":[1.0,2.0]}},"problems":["x"],"sent":1}',
    ),
    "event-text": (b"device is gone", "Gerät weg\n".encode()),
    "last-log": (b"2026-11-25 worker INFO serving\nTraceback (most recent call last):\n",),
    "command-line": (
        b"--config-file=/etc/pcidp/config.json\0-use-cdi\0--log-level=10\0--worker-memory-max=1GiB",
        b"127.0.0.1:9420",
        b"[::]:9420\0--gone-grace\x001e9",
        b"2026-11-25T08:30",
        b"90s",
    ),
}
