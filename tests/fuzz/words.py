"""What comes by ZeroMQ, gRPC and pipes, and what is shown of it."""

import io
from pathlib import Path
from typing import Final

import msgspec
from google.protobuf.message import DecodeError

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Explain,
    ExplainReply,
    MetricsReply,
    Reload,
    ReloadReply,
    Reply,
    Rescan,
    RescanReply,
    Status,
    StatusReply,
    Upgrade,
    UpgradeReply,
    encode,
    to_reply,
    to_request,
)
from rbln_supervisor.core.control.protocol import Metrics as AskedMetrics
from rbln_supervisor.core.doctor.status_checks import all_problems
from rbln_supervisor.ctl import (
    doctor,
    doctor_command,
    explain_command,
    plan_table,
    reload_command,
    rendering,
    rescan_command,
    status_command,
)
from rbln_supervisor.ctl.client import UnreadableAnswerError
from rbln_supervisor.ctl.client import _decode_reply as read_reply
from rbln_supervisor.discovery.process import decode_result
from rbln_supervisor.exporter.families import Page, fill_page
from rbln_supervisor.workers.forked_collector import Collected
from rbln_worker.contract import messages
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.inventory import NodeInventory as HostNode
from rbln_worker.contract.messages import FrameError, Report, Snapshot
from rbln_worker.contract.pod_devices import MAX_NAME, PodDevices, PodSource
from rbln_worker.contract.pool import PoolName, PoolSpec
from rbln_worker.core.allocation.device_allocation import env_names
from rbln_worker.core.pool_snapshot import apply_snapshot
from rbln_worker.core.preferred import choose
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.topology import pool_topology
from rbln_worker.kubelet import allocation
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.api import podresources_pb2, pods_pb2
from rbln_worker.kubelet.checkpoint import parse_checkpoint
from rbln_worker.kubelet.pod_resources import _resource_holders
from rbln_worker.kubelet.pods_api import decode_pod
from rbln_worker.kubelet.prepared import PreparedAnswers
from rbln_worker.kubelet.translate import SerializedDevice
from tests.fuzz import claims

NOTHING: Final = NodeConfig(())
COLUMNS: Final = (80, rendering.PIPE_COLUMNS)
POOL: Final = PoolName("rebellions.ai/ATOM")
PREPARED: Final = PreparedAnswers(
    pool=POOL,
    names=env_names(POOL),
    shares={f"0000:2{n}:00.0": SerializedDevice("{}", {}) for n in range(4)},
    refusals={"0000:30:00.0": "unplugged"},
    layout=pool_topology(
        PoolSpec("rebellions.ai", "ATOM", "accelerator"),
        [
            Device(
                DeviceId(f"0000:2{n}:00.0"),
                PciFunction(
                    *(Bdf(f"0000:2{n}:00.0"), "1eff", "1250", 0x12, "rebellions", n // 2),
                    bridges=(Bdf("0000:10:00.0"), Bdf(f"0000:1{n // 2 + 1}:00.0")),
                ),
            )
            for n in range(4)
        ],
    ),
)


def request(frame: bytes) -> None:
    """What a supervisor is asked is answered, or msgspec.DecodeError comes out."""
    try:
        asked = to_request(frame)
    except msgspec.DecodeError:
        return
    reply: Reply | None
    match asked:
        case Explain(device=device):
            reply = queries.explain_reply(device, NOTHING, HostNode(), {}, {})
        case DryRun():
            tried = queries.parse_dry_run(asked, "intel.com")
            reply = None if isinstance(tried, NodeConfig) else tried
        case Status() | AskedMetrics() | Reload() | Rescan() | Upgrade():
            reply = None
    assert to_request(encode(asked)) == asked
    assert reply is None or to_reply(encode(reply)) == reply


def answer(frame: bytes) -> None:
    """What rbln-ctl and rbln-exporter hear is shown, or they say in a line that they can't."""
    try:
        reply = read_reply([frame], Path("control.sock"))
    except UnreadableAnswerError as error:
        claims.one_line(str(error))
        return
    for columns in COLUMNS:
        claims.page(_shown(reply, columns))


def _shown(reply: Reply, columns: int) -> str:
    def page(renderable: object) -> str:
        return rendering.render_text(lambda _: renderable, io.StringIO())  # type: ignore[arg-type,return-value]

    match reply:
        case StatusReply(status=status):
            page("\n".join(status.unready_reasons))
            return page(status_command.status_page(status, columns, 1e9))
        case MetricsReply(measures=measures):
            shown = Page()
            fill_page(shown, measures, device_series=True)
            return ""
        case ReloadReply(plan=plan):
            more = page(plan_table.plan_page(plan, columns))
            return f"{reload_command.reload_sentence(plan)}\n{more}"
        case RescanReply():
            return rescan_command.rescan_text(reply)
        case ExplainReply(explanation=said):
            return page(explain_command.explain_page(said, columns, 1e9))
        case DryRunReply(plan=plan):
            return page(plan_table.plan_page(plan, columns)) if plan else ""
        case ErrorReply() | UpgradeReply():
            return ""


def to_supervisor(frame: bytes) -> None:
    """A worker's message is one that can be said again, or FrameError."""
    try:
        said = messages.to_supervisor(frame)
    except FrameError:
        return
    assert messages.to_supervisor(messages.encode_message(said)) == said or _has_nan(said)
    match said:
        case Report():
            msgspec.json.encode(said)
        case _:
            pass


def to_worker(frame: bytes) -> None:
    """A supervisor's message is taken in, or FrameError."""
    try:
        said = messages.to_worker(frame)
    except FrameError:
        return
    assert messages.to_worker(messages.encode_message(said)) == said or _has_nan(said)
    if isinstance(said, Snapshot):
        held = apply_snapshot(None, said)
        assert apply_snapshot(held, said) == held or _has_nan(said)


def look(said: bytes) -> None:
    """A scout's words are a look, or one that failed for a reason."""
    found = decode_result(Collected(bytearray(said), "exit code 0"))
    if found.failed is not None and not found.node.functions:
        assert found.failed


def sections(said: bytes) -> None:
    """What doctor's own process says is problems that can be shown, or passed over."""
    results = {one.section: one for one in doctor._decode_results(said.splitlines())}
    found = [problem for one in results.values() for problem in one.problems]
    page = doctor_command.doctor_page(all_problems(None, found, "0.1.0"), "nobody listens")
    claims.page(rendering.render_text(lambda _: page, io.StringIO()))


def pods(raw: bytes) -> None:
    """The kubelet's list of pods is one that can be sent on, or DecodeError."""
    try:
        told = podresources_pb2.ListPodResourcesResponse.FromString(raw)
    except DecodeError:
        return
    for holding in sorted(_resource_holders(told, {"rebellions.ai/ATOM"})):
        assert len(holding.pod) <= MAX_NAME
        msgspec.msgpack.encode(holding)


def pods_api(raw: bytes) -> None:
    """An event's pod is described in bounded words, or DecodeError."""
    try:
        told = pods_pb2.WatchPodsEvent.FromString(raw)
        found = decode_pod(told.pod)
    except DecodeError:
        return
    assert max(map(len, (found.uid, found.namespace, found.name))) <= MAX_NAME
    msgspec.msgpack.encode(found)


def checkpoint(raw: bytes) -> None:
    """Each device of a checkpoint is one that can be sent on, and nothing else comes out."""
    found = parse_checkpoint(raw)
    for one in found.devices:
        assert one.uid
        assert one.device
        assert all(path.startswith("/dev/") for path in one.paths)
    state = PodDevices(PodSource.CHECKPOINT, found.devices, (found.problem,))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=PodDevices) == state


def allocate(raw: bytes) -> None:
    """An answer for each container or a refusal with few words."""
    try:
        asked = pb.AllocateRequest.FromString(raw)
    except DecodeError:
        return
    given = allocation.build_response(PREPARED, asked)
    if isinstance(given, allocation.Refusal):
        assert len(given.why) <= 1000
    else:
        answer = pb.AllocateResponse.FromString(given)
        assert len(answer.container_responses) == len(asked.container_requests)


def prefer(raw: bytes) -> None:
    """Devices of the pool, each once, or none."""
    try:
        asked = pb.PreferredAllocationRequest.FromString(raw)
    except DecodeError:
        return
    for one in asked.container_requests[:64]:
        ids, must = one.available_deviceIDs, one.must_include_deviceIDs
        said = choose.choose_devices(PREPARED.layout, ids, must, one.allocation_size, Budget(1000))
        if isinstance(said, choose.Preferred):
            assert len(set(said.devices)) == len(said.devices)


def _has_nan(said: object) -> bool:
    return "nan" in repr(said)
