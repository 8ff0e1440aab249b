"""Answers that are joined from prepared bytes are the answers that would be built at once."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import DeviceAllocation, env_names, go_json
from rbln_worker.core.allocation.providers.provider import DeviceNode, Mount
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.translate import container_member, encode_share

NAMES = env_names(PoolName("rebellions.ai/ATOM"))
PATHS = st.sampled_from(["/dev/a", "/dev/b", "/dev/c", "/dev/\u00e9"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = st.sampled_from([DeviceId(f"0000:0{bus}:00.0") for bus in range(5)])


@st.composite
def device_answers(draw: st.DrawFn) -> dict[DeviceId, DeviceAllocation]:
    return {
        device: DeviceAllocation(
            id=device,
            nodes=tuple(
                draw(
                    st.lists(
                        st.builds(DeviceNode, PATHS, PATHS), max_size=3, unique_by=lambda n: n.host
                    )
                )
            ),
            mounts=tuple(draw(st.lists(st.builds(Mount, PATHS, PATHS), max_size=2, unique=True))),
            info=f"{go_json(device)}:{go_json({'x': {draw(TEXT): draw(TEXT)}})}",
        )
        for device in draw(st.sets(IDS, min_size=1))
    }


@given(device_answers(), st.data())
def test_joined_bytes_are_the_plain_answer(
    answers: dict[DeviceId, DeviceAllocation], data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.sampled_from(sorted(answers)), max_size=6))
    joined = _container(
        container_member(
            NAMES, ids, {device: encode_share(told) for device, told in answers.items()}
        )
    )

    plain = pb.ContainerAllocateResponse()
    plain.envs[NAMES.resource] = plain.envs[NAMES.devices] = ",".join(sorted(ids))
    once = sorted(set(ids))
    plain.envs[NAMES.info] = "{" + ",".join(answers[device].info for device in once) + "}"
    hosts, containers = set(), set()
    for device in once:
        for node in answers[device].nodes:
            if node.host not in hosts:
                hosts.add(node.host)
                plain.devices.add(
                    host_path=node.host, container_path=node.container, permissions="rw"
                )
        for mount in answers[device].mounts:
            if mount.container not in containers:
                containers.add(mount.container)
                plain.mounts.add(
                    host_path=mount.host, container_path=mount.container, read_only=True
                )
    assert joined == plain
    assert pb.ContainerAllocateResponse.FromString(joined.SerializeToString()) == plain
    assert set(json.loads(plain.envs[NAMES.info])) == {str(device) for device in once}


SCALAR = st.text(st.characters(exclude_categories=["Cs"]))
OBJECT = st.dictionaries(SCALAR, st.dictionaries(SCALAR, SCALAR, max_size=3), max_size=3)


@given(OBJECT)
def test_json_means_what_went_in_and_has_nothing_that_html_could_take_for_its_own(
    value: dict[str, dict[str, str]],
) -> None:
    text = go_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
    assert all(character >= " " for character in text)


@given(SCALAR)
def test_json_escapes_nothing_else(value: str) -> None:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    marked = {'"': '\\"', "\\": "\\\\"}

    def escaped(character: str) -> str:
        if character in short:
            return short[character]
        if character in marked:
            return marked[character]
        if character < " " or character in "<>&\u2028\u2029":
            return f"\\u{ord(character):04x}"
        return character

    assert go_json(value) == f'"{"".join(map(escaped, value))}"'


def _container(member: bytes) -> pb.ContainerAllocateResponse:
    return pb.AllocateResponse.FromString(member).container_responses[0]
