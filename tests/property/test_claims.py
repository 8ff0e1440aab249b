"""Claims: what is decided of any claim, and what is written down of it."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import DeviceAllocation
from rbln_worker.core.allocation.providers.provider import DeviceNode, Mount
from rbln_worker.core.dra.checkpoint import (
    CheckpointError,
    ClaimCheckpoint,
    encode_checkpoint,
    parse_checkpoint,
)
from rbln_worker.core.dra.claim_entry import (
    ClaimedDevice,
    ClaimEntry,
    ClaimReference,
    base_request,
)
from rbln_worker.core.dra.claim_spec import (
    SpecSource,
    claim_of_file,
    claim_spec_text,
    entry_of_spec,
    prepared_devices,
    spec_file_name,
)
from rbln_worker.core.dra.claims import ClaimError, ClaimView, plan_claim
from rbln_worker.core.dra.metadata import metadata_files
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.core.dra.resource_claim import ResourceClaim
from rbln_worker.core.limit_bytes import limit_bytes
from rbln_worker.dra.checkpoint_file import ClaimFilesError
from rbln_worker.dra.health_stream import MAX_MESSAGE_BYTES
from tests.fuzz.claims import one_line
from tests.sim.claim_steps import DRIVER, IDS, board, plan, prepare, records

REFERENCE = ClaimReference("uid-1", "default", "one")
OTHER = DeviceId("0000:99:00.0")
requests = st.sampled_from(["npus", "npus/small", "more", "other/big"])

results = st.fixed_dictionaries(
    {
        "request": requests,
        "driver": st.sampled_from([DRIVER, DRIVER, "nic.example.com"]),
        "pool": st.sampled_from(["node-1", "node-1", "node-1", "node-2"]),
        "device": st.sampled_from([dra_device_name(one) for one in (*IDS, *IDS, OTHER)]),
    },
    optional={"adminAccess": st.booleans()},
)
parameters = st.sampled_from(
    [
        {"apiVersion": "resource.rebellions.ai/v1", "kind": "NpuParameters"},
        {"apiVersion": "resource.rebellions.ai/v1", "kind": "NpuParameters", "rsdGroup": False},
        {"apiVersion": "resource.rebellions.ai/v1", "kind": "NpuParameters", "rsdGroup": 1},
        {"kind": "NpuParameters"},
        None,
        "x",
    ]
)
configs = st.fixed_dictionaries(
    {
        "source": st.just("FromClaim"),
        "opaque": st.fixed_dictionaries(
            {"driver": st.sampled_from([DRIVER, "nic.example.com"]), "parameters": parameters}
        ),
    },
    optional={"requests": st.lists(requests, max_size=2)},
)


def claim_of(devices: list[dict[str, Any]], config: list[dict[str, Any]]) -> ResourceClaim:
    document = {
        "metadata": {"name": "one", "namespace": "default", "uid": "uid-1"},
        "status": {
            "allocation": {"devices": {"results": devices, "config": config}},
            "reservedFor": [{"resource": "pods", "name": "pod", "uid": "p"}],
        },
    }
    return msgspec.json.decode(json.dumps(document), type=ResourceClaim)


@given(
    st.lists(results, max_size=4),
    st.lists(configs, max_size=2),
    st.dictionaries(st.sampled_from(IDS), st.just("it is broken")),
)
def test_a_claim_gets_all_of_its_devices_that_are_ours_or_none(
    devices: list[dict[str, Any]], config: list[dict[str, Any]], refusals: dict[DeviceId, str]
) -> None:
    view = ClaimView(DRIVER, "node-1", IDS, refusals)
    ours = [one for one in devices if one["driver"] == DRIVER]
    names = {dra_device_name(one): one for one in IDS}
    try:
        decided = plan_claim(REFERENCE, claim_of(devices, config), view)
    except ClaimError as error:
        one_line(str(error))
        return
    assert all(one["pool"] == "node-1" for one in ours)
    assert {one.id for one in decided.devices} == {names[one["device"]] for one in ours}
    for device in decided.devices:
        parts = [one for one in ours if names[one["device"]] == device.id]
        assert set(device.requests) == {one["request"] for one in parts}
        assert device.admin == all(one.get("adminAccess") for one in parts)
        assert device.admin or device.id not in refusals
    of_ours = [one for one in config if one["opaque"]["driver"] == DRIVER]
    used = {one["request"] for one in ours} | {base_request(one["request"]) for one in ours}
    for one in of_ours:
        if not one.get("requests") or used & set(one["requests"]):
            assert "apiVersion" in one["opaque"]["parameters"], "others are refused"


texts = st.text(st.characters(codec="utf-8"), max_size=8)
uids = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
devices_of_claims = st.builds(
    ClaimedDevice,
    id=st.sampled_from(IDS),
    requests=st.lists(requests, min_size=1, max_size=2, unique=True).map(tuple),
    admin=st.booleans(),
)
entries = st.builds(
    ClaimEntry,
    uid=uids,
    namespace=st.just("default"),
    name=uids,
    boot=texts,
    state=st.sampled_from(["started", "done"]),
    devices=st.lists(devices_of_claims, unique_by=lambda one: one.id, max_size=3).map(tuple),
    pods=st.lists(texts, max_size=2).map(tuple),
    pod_claim=st.sampled_from(["", "mine"]),
    extended=st.booleans(),
    since=st.floats(0, 1e10),
    group=st.none() | st.integers(0, 255),
    groups_npus=st.booleans(),
)


@given(st.lists(entries, unique_by=lambda one: one.uid, max_size=3))
def test_a_checkpoint_is_read_as_it_was_written(claims: list[ClaimEntry]) -> None:
    checkpoint = ClaimCheckpoint({one.uid: one for one in claims})
    assert parse_checkpoint(encode_checkpoint(checkpoint)).claims == checkpoint.claims


@given(entries, entries, st.dictionaries(texts, st.integers(), max_size=2))
def test_fields_of_another_version_are_kept_through_changes(
    entry: ClaimEntry, second: ClaimEntry, unknown: dict[str, int]
) -> None:
    extra = {f"x-{key}": value for key, value in unknown.items()}
    written = json.loads(encode_checkpoint(ClaimCheckpoint({entry.uid: entry})))
    written.update(extra)
    written["claims"][entry.uid].update(extra)
    before = parse_checkpoint(json.dumps(written).encode())
    changed = before.with_entry(msgspec.structs.replace(entry, state="done"))
    if second.uid != entry.uid:
        changed = changed.with_entry(second).without_entry(second.uid)
    after = json.loads(encode_checkpoint(changed))
    assert {key: after[key] for key in extra} == extra
    assert {key: after["claims"][entry.uid][key] for key in extra} == extra
    assert after["claims"][entry.uid]["state"] == "done"


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | texts, st.lists))
def test_anything_else_is_no_checkpoint(content: object) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(CheckpointError):
        parse_checkpoint(raw)


@given(entries, st.integers(0, 3))
def test_a_spec_has_a_device_for_each_id_that_is_given(entry: ClaimEntry, known: int) -> None:
    answers = {
        one: DeviceAllocation(one, (DeviceNode("/dev/rbln0", "/dev/rbln0"),), (), f'"{one}":{{}}')
        for one in IDS[:known]
    }
    metadata = {
        base_request(request): Mount("/host", "/container")
        for device in entry.devices
        for request in device.requests
    }
    source = SpecSource(DRIVER, PoolName("rebellions.ai/ATOM"), answers, metadata)
    text = claim_spec_text(entry, source)
    assert entry_of_spec(text) == entry
    spec = json.loads(text.partition(b"\n")[2])
    names = [one["name"] for one in spec["devices"]]
    assert len(names) == len(set(names))
    assert all(one["containerEdits"] for one in spec["devices"]), "a device needs an edit"
    given_ids = [one for device in prepared_devices(entry, DRIVER) for one in device.cdi_ids]
    assert len(given_ids) == len(set(given_ids))
    missing = {
        f"{spec['kind']}={entry.uid}-{dra_device_name(device.id)}"
        for device in entry.devices
        if device.id not in answers
    }
    assert {*given_ids} - {f"{spec['kind']}={name}" for name in names} == missing


@given(entries)
def test_each_request_has_its_metadata_in_both_versions(entry: ClaimEntry) -> None:
    files = metadata_files(entry, DRIVER, "node-1", {})
    assert {one.request for one in files} == {
        base_request(request) for device in entry.devices for request in device.requests
    }
    for file in files:
        first, second = map(json.loads, file.text.splitlines())
        assert (first.pop("apiVersion"), second.pop("apiVersion")) == (
            "metadata.resource.k8s.io/v1beta1",
            "metadata.resource.k8s.io/v1alpha1",
        )
        assert first == second
        assert file.container.count("/") == 8


@given(uids, st.sampled_from([DRIVER, "npu.rebellions.ai.example.com", "x"]))
def test_a_spec_file_belongs_to_one_driver(uid: str, driver: str) -> None:
    name = spec_file_name(driver, uid)
    assert claim_of_file(name, driver) == uid
    assert claim_of_file(name, f"{driver}x") == ""
    assert claim_of_file(f"{name}.new", driver) == ""


@given(st.text(max_size=1100))
def test_a_health_message_fits(text: str) -> None:
    cut = limit_bytes(text, MAX_MESSAGE_BYTES)
    assert len(cut.encode()) <= MAX_MESSAGE_BYTES
    plain = text.encode(errors="replace").decode()
    assert cut == plain or (cut.endswith("…") and plain.startswith(cut[:-1]))


operations = st.tuples(
    st.sampled_from(["prepare", "prepare with group", "begin", "remove", "restart", "lose specs"]),
    st.integers(0, 1),
    st.integers(0, 3),
    st.lists(st.sampled_from(IDS), min_size=1, max_size=2, unique=True),
)


@settings(max_examples=25)
@given(st.lists(operations, max_size=12))
def test_no_device_is_ever_in_two_claims(steps: list[tuple[str, int, int, list[DeviceId]]]) -> None:
    """Two instances of the plugin on one node, each of which may be killed and start again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instances = [records(folder), records(folder)]
        for what, which, number, devices in steps:
            of, uid = instances[which], f"uid-{number}"
            content = plan(uid, *devices)
            match what:
                case "prepare" | "prepare with group":
                    with contextlib.suppress(ClaimError):
                        prepare(of, content, group=1 if what != "prepare" else None)
                case "begin":
                    with contextlib.suppress(ClaimError):
                        of.begin_claim(content, "started", board())
                case "remove":
                    of.remove_claim(uid)
                case "restart":
                    instances[which] = records(folder)
                    instances[which].recover_claims(board())
                case "lose specs":
                    for path in (folder / "cdi").glob("*"):
                        path.unlink()
                    of.refresh_files(board())
                case _:
                    pass
            entries_now = instances[which].read_entries()
            given_out = [device.id for entry in entries_now for device in entry.devices]
            assert len(given_out) == len(set(given_out))
            done = {entry.uid for entry in entries_now if entry.state == "done"}
            specs = {claim_of_file(path.name, DRIVER) for path in (folder / "cdi").glob("*")}
            assert specs == done


def test_an_error_names_the_file(tmp_path: Path) -> None:
    of = records(tmp_path)
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "checkpoint.json").mkdir()
    with pytest.raises(ClaimFilesError, match=r"checkpoint\.json"):
        of.read_entries()
