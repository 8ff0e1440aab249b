"""What a pool answers with, made step by step, is what it would be if it were made at once."""

from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.core.allocation.device_allocation import answer_without_files, env_names
from rbln_worker.core.step.effects import PublishAnswers
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.prepared import PreparedAnswers, revise_answers

POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


class Seen(msgspec.Struct, frozen=True):
    """A device at a moment."""

    healthy: bool
    hidden: bool
    numa: int | None


IDS = st.integers(0, 9).map(lambda n: f"0000:{n:02x}:00.0")
MOMENT = st.dictionaries(
    IDS, st.builds(Seen, st.booleans(), st.booleans(), st.none() | st.integers(0, 1023))
)


def change(moment: dict[str, Seen], pool: PoolSpec, changed: Iterable[str]) -> PublishAnswers:
    known = {
        DeviceId(name): Device(
            DeviceId(name), PciFunction(Bdf(name), "1eff", "1120", 0x12, "rebellions", seen.numa)
        )
        for name, seen in moment.items()
    }
    return PublishAnswers(
        pool=pool,
        changed=frozenset(devices(changed)),
        moved=True,
        devices=known,
        answers={name: answer_without_files(device, pool) for name, device in known.items()},
        before={},
        after={},
        verdicts={name: Verdict(healthy=moment[name].healthy) for name in known},
        refusals={name: "sick" for name in known if not moment[name].healthy},
        hidden=frozenset(name for name in known if moment[name].hidden),
        mode="off",
    )


def empty(pool: PoolSpec) -> PreparedAnswers:
    return PreparedAnswers(pool.name, env_names(pool.name))


def made(moment: dict[str, Seen], pool: PoolSpec) -> PreparedAnswers:
    return revise_answers(empty(pool), change(moment, pool, moment))


@given(st.lists(MOMENT, min_size=1, max_size=6), st.data())
def test_steps_come_to_the_same_as_one(moments: list[dict[str, Seen]], data: st.DataObject) -> None:
    so_far, before = empty(POOL), dict[str, Seen]()
    for moment in moments:
        changed = {n for n in before.keys() | moment.keys() if before.get(n) != moment.get(n)}
        changed |= data.draw(st.sets(IDS))  # and some that only may have
        so_far = revise_answers(so_far, change(moment, POOL, changed))
        before = moment
    at_once = made(before, POOL)
    assert so_far == at_once
    assert so_far.message == at_once.message


@given(moment=MOMENT, without=st.booleans())
def test_a_list_has_every_device_once_in_order(*, moment: dict[str, Seen], without: bool) -> None:
    pool = msgspec.structs.replace(POOL, exclude_topology=without)
    seen = pb.ListAndWatchResponse.FromString(made(moment, pool).message).devices
    assert [one.ID for one in seen] == sorted(name for name in moment if not moment[name].hidden)
    for one in seen:
        device = moment[one.ID]
        assert one.health == ("Healthy" if device.healthy else "Unhealthy")
        assert one.HasField("topology") is (device.numa is not None and not without)
        numa = [] if device.numa is None or without else [device.numa]
        assert [node.ID for node in one.topology.nodes] == numa


def devices(names: Iterable[str]) -> set[DeviceId]:
    return {DeviceId(name) for name in names}
