"""What others can write: requests, lists, locks, drivers' files. It is understood, or told of."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    encode,
    to_reply,
    to_request,
)
from rbln_supervisor.core.discovery.uevents import is_relevant, pci_function
from rbln_supervisor.core.matching.assign import assign
from rbln_supervisor.core.workers.desired_state import affected_devices
from rbln_supervisor.discovery.process import required_reads
from rbln_supervisor.workers import processes
from rbln_worker.contract.device import Device
from rbln_worker.contract.pod_devices import ResourceHolders
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import build_allocation
from rbln_worker.core.allocation.providers.provider import ProviderInput
from rbln_worker.core.allocation.providers.registry import allocation_reads
from rbln_worker.core.health import evidence, npu
from rbln_worker.core.health.observation import Good
from rbln_worker.host.discovery.scan import scan_node
from rbln_worker.host.facts import Reader
from rbln_worker.host.manifest import FileManifest, remove_files
from rbln_worker.host.netlink import uevent
from rbln_worker.kubelet.api import podresources_pb2 as podresources
from rbln_worker.kubelet.pod_resources import list_pod_devices
from tests.chaos import pools
from tests.property.test_discovery import damaged, entries
from tests.sim.node import SimNode
from tests.sim.pod_resources import PodResources

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TAGS: Final = st.sampled_from(["status", "reload", "rescan", "explain", "dry-run", "stop", ""])
FIELDS: Final = st.dictionaries(st.sampled_from(["device", "config", "prefix", "force"]), JSON)

CONFIG: Final = node_config.parse(msgspec.json.encode(pools.CONFIG), prefix="intel.com")


@contextlib.contextmanager
def built() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        sim = SimNode(Path(folder))
        pools.build(sim)
        yield sim.root


with built() as _root:
    NODE: Final = scan_node(_root, required_reads(CONFIG.pools, allow_default_route=False)).node
    ENTRIES: Final = [
        entry for entry in entries(_root) if "/net/" not in entry or entry.endswith("type")
    ]
ASSIGNED: Final = assign(CONFIG.pools, NODE).devices


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with built() as folder:
        yield folder


# The control socket


@given(
    st.binary(max_size=300) | st.builds(lambda b: b'{"type":"explain","device":' + b, st.binary())
)
def test_any_bytes_are_a_request_or_none(frame: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        assert encode(to_request(frame))


@given(TAGS, FIELDS)
def test_a_request_of_any_fields_is_one_or_none(tag: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        assert encode(to_request(msgspec.json.encode({"type": tag, **fields})))


@given(name=st.text() | st.from_regex(r"[0-9a-f:.]{1,14}", fullmatch=True))
def test_any_name_is_explained_or_refused(name: str) -> None:
    reply = queries.explain_reply(name, CONFIG, NODE, {}, {})
    assert to_reply(encode(reply)) == reply


@given(raw=st.binary(max_size=300), prefix=st.none() | st.text())
def test_any_configuration_is_tried_or_complained_of(raw: bytes, prefix: str | None) -> None:
    match queries.parse_dry_run(DryRun(raw, prefix), "intel.com"):
        case DryRunReply(plan=None, errors=errors) as reply:
            assert errors
            assert to_reply(encode(reply)) == reply
        case node_config.NodeConfig():
            pass
        case other:
            pytest.fail(f"{other}")


def test_a_question_before_the_first_look_is_refused() -> None:
    assert isinstance(queries.explain_reply("x", CONFIG, None, {}, {}), ErrorReply)


# The kernel's socket


@given(
    st.binary(max_size=400)
    | st.builds(
        lambda path, subsystem: b"add@" + path + b"\0SUBSYSTEM=" + subsystem,
        st.binary(max_size=80),
        st.sampled_from([b"pci", b"net", b"", b"\xff"]),
    )
)
def test_any_event_is_about_devices_or_is_not(frame: bytes) -> None:
    event = uevent.parse_uevent(frame)
    if event is not None and is_relevant(event.subsystem, event.devpath):
        named = pci_function(event.devpath)
        assert named is None or named in event.devpath
        assert affected_devices({named}, {}) == {}


# The kubelet


@pytest.fixture(scope="module")
def lister() -> Iterator[PodResources]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="rbk-") as folder:
        served = PodResources(Path(folder))
        served.start()
        yield served
        served.stop()


@composite
def damaged_answers(draw: DrawFn) -> bytes:
    device = podresources.ContainerDevices(
        resource_name=draw(st.sampled_from(["a/x", ""]) | st.text(max_size=20)),
        device_ids=draw(st.lists(st.text(max_size=20), max_size=3)),
    )
    container = podresources.ContainerResources(name=draw(st.text()), devices=[device] * 2)
    pod = podresources.PodResources(name=draw(st.text()), containers=[container])
    whole = podresources.ListPodResourcesResponse(pod_resources=[pod]).SerializeToString()
    cut = draw(st.integers(0, len(whole)))
    return whole[:cut] + draw(st.binary(max_size=10)) + whole[cut:][draw(st.integers(0, 3)) :]


@given(answer=damaged_answers() | st.binary(max_size=100))
def test_any_answer_says_who_has_what_or_why_not(lister: PodResources, answer: bytes) -> None:
    lister.garbage = answer
    said = list_pod_devices(lister.socket, {"a/x"})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=ResourceHolders) == said
    assert said.unknown is None or said.unknown.isprintable()


# Files of our own that somebody else has written


PATHS: Final = st.sampled_from(["/", "", ".", "..", "a\0b", "\udc00", "x" * 5000]) | st.text()
LISTS: Final = st.fixed_dictionaries(
    {
        "files": st.dictionaries(
            PATHS.filter(lambda path: path.isprintable() or "\0" in path),
            st.lists(st.integers(-(2**70), 2**70), min_size=2, max_size=2),
            max_size=4,
        )
    }
)


@given(content=st.binary(max_size=200) | LISTS.map(msgspec.json.encode))
def test_any_list_of_files_is_one_and_removes_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("list")
    other = folder / "other"
    other.write_text("somebody's")
    path = folder / "pool.files"
    path.write_bytes(content)
    ledger = FileManifest(path)
    assert ledger.write_file(folder / "ours", "text", 0o644, flush=False) == ""
    ledger.drop_others([folder / "ours"])
    assert ledger.save_list() == ""
    assert (folder / "ours").read_text() == "text"
    path.write_bytes(content)
    remove_files(path)
    assert other.read_text() == "somebody's"
    assert not path.exists()


@given(content=st.binary(max_size=200) | st.text(max_size=70).map(str.encode))
def test_any_lock_file_is_free_or_held_by_somebody_unknown(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("lock") / "pool.lock"
    path.write_bytes(content)
    assert processes.lock_holder(path) is None
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match=r"can't be seen|Invalid argument"):
            processes.lock_holder(path)


# Files of drivers


STATUSES: Final = st.binary(max_size=60) | st.from_regex(rb"-?[0-9]{1,5000}\n?", fullmatch=True)


@given(status=STATUSES, version=STATUSES | st.from_regex(rb"[0-9]{1,30}(\.[0-9]{0,30}){0,3}"))
def test_any_status_of_an_npu_is_judged(root: Path, status: bytes, version: bytes) -> None:
    home = root / "sys/class/rebellions/rbln0"
    (home / "status").write_bytes(status)
    (home / "kernel_version").write_bytes(version)
    try:
        facts = Reader(root, host_visible=True).read_facts(npu.status_reads("rbln0"))
    finally:
        (home / "status").write_text("0\n")
        (home / "kernel_version").write_text("3.0.0\n")
    seen = npu.status_evidence("rbln0", facts)
    assert isinstance(seen, Good) or seen.reason.isprintable()


@given(
    damages=st.lists(
        st.tuples(
            st.sampled_from(ENTRIES),
            st.sampled_from(["bytes", "directory", "gone", "link"]),
            st.binary(max_size=300)
            | st.sampled_from([b"", b"0\n", b"\xff" * 64, b"9" * 200, b"nowhere", b"/etc"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_damage_ends_a_workers_look(root: Path, damages: list[tuple[str, str, bytes]]) -> None:
    """Whatever its files hold, a device has an answer and evidence, and no odd path in either."""
    with contextlib.ExitStack() as stack:
        for path, what, value in damages:
            stack.enter_context(damaged(root, path, what, value))
        reader = Reader(root, host_visible=True)
        for device, pool in _devices():
            told = build_allocation(
                ProviderInput(device, pool, reader.read_facts(allocation_reads(device, pool)))
            )
            missing = reader.missing_nodes(one.host for one in told.nodes)
            unusable = evidence.unusable_reason(told, missing)
            asked = evidence.health_reads(device, told)
            further = evidence.further_reads(device, told, reader.read_facts(asked))
            facts = reader.read_facts((*asked, *further))
            found = evidence.gather_evidence(device, told, facts, unusable=unusable, unwritten="")
            said = "" if isinstance(found.observation, Good) else found.observation.reason
            assert all(text.isprintable() for text in (said, *found.warnings))
            for one in told.nodes:
                assert one.host.startswith("/dev/")
                assert os.path.normpath(one.host) == one.host
                assert one.host.isprintable()


def _devices() -> Iterator[tuple[Device, PoolSpec]]:
    for pool in CONFIG.pools:
        for device in ASSIGNED[pool.spec.name].values():
            yield device, pool.spec
