"""A configuration that was read becomes active or is refused; what may succeed later is retried."""

import math

import msgspec

from rbln_supervisor.core.config.node_config import NodeConfig
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.step.reload_step import (
    FIRST_RETRY_S,
    MAX_RETRY_S,
    Activate,
    DiscoveryDone,
    FileRead,
    Refuse,
    ReloadState,
    RequestDiscovery,
    step_reload,
)
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_worker.contract.device import Bdf, Device, DeviceId
from rbln_worker.contract.inventory import DiscoveryResult, NodeInventory
from rbln_worker.contract.pod_devices import PodDevice, ResourceHolders
from rbln_worker.contract.pool import PoolSpec
from tests.unit.inventory import npu

FILE = b'{"resourceList": []}'
NEWER = b'{"resourceList": [] }'
SPEC = PoolSpec("x.io", "a", "accelerator")
ACTIVE = NodeConfig((PoolConfig(SPEC, (SelectorObject(),)),))
DEVICE = DeviceId("0000:01:00.0")
DESIRED = {SPEC.name: DesiredState(SPEC, {DEVICE: Device(DEVICE, npu(Bdf(DEVICE)))}, generation=1)}


def read_file(state: ReloadState, content: bytes = NEWER) -> tuple[ReloadState, NodeConfig]:
    state, effect = step_reload(state, FileRead(content, "request"), 0.0)
    assert isinstance(effect, RequestDiscovery)
    return state, effect.config


def discovered(config: NodeConfig, held: ResourceHolders, *, force: bool = False) -> DiscoveryDone:
    """A discovery for a configuration that takes the only device of the only pool."""
    result = DiscoveryResult(held=held)
    return DiscoveryDone(config, force, result, NodeInventory(), ACTIVE, DESIRED)


def test_a_refusal_without_an_answer_is_retried_less_and_less_often() -> None:
    state, config = read_file(ReloadState("x.io", FILE))
    done, now, waits, news = discovered(config, ResourceHolders(unknown="no answer")), 100.0, [], []
    assert state.retry_at == math.inf
    for _ in range(8):
        state, effect = step_reload(state, done, now)
        assert isinstance(effect, Refuse)
        news.append(effect.is_new)
        waits.append(state.retry_at - now)
        now = state.retry_at
        state, effect = step_reload(state, FileRead(NEWER, "retry"), now)
        assert isinstance(effect, RequestDiscovery)
        assert state.retry_at == math.inf
    assert news == [True] + 7 * [False]
    assert waits[0] == FIRST_RETRY_S
    assert waits == sorted(waits)
    assert waits[-1] == MAX_RETRY_S
    # A newer file starts from the beginning; an unchanged one that is only touched does nothing.
    assert step_reload(state, FileRead(NEWER, "change"), now) == (state, None)
    state, _ = step_reload(state, FileRead(FILE, "change"), now)
    assert not state.is_retrying
    assert state.wait_s == FIRST_RETRY_S


def test_devices_of_pods_are_removed_only_with_force() -> None:
    state, config = read_file(ReloadState("x.io", FILE, former_note="of yesterday"))
    held = ResourceHolders((PodDevice(SPEC.name, DEVICE, "ns", "p", "c"),))
    refused, effect = step_reload(state, discovered(config, held), 0.0)
    assert isinstance(effect, Refuse)
    assert refused.refused == effect.errors
    assert refused.retry_at == math.inf
    assert len(refused.problems) == len(effect.errors) + 1
    active, effect = step_reload(refused, discovered(config, held, force=True), 0.0)
    assert isinstance(effect, Activate)
    assert (effect.config, effect.content) == (config, NEWER)
    assert effect.reply.forced
    assert active.problems == ()


def test_what_is_saved_for_a_restart_is_the_newest_file() -> None:
    state, first = read_file(ReloadState("x.io", FILE))
    for content in (b"{", ("no such file",)):
        state, effect = step_reload(state, FileRead(content, "change"), 0.0)
        assert isinstance(effect, Refuse)
    later, effect = step_reload(state, discovered(first, ResourceHolders()), 0.0)
    assert isinstance(effect, Activate)
    assert effect.content is None
    assert later.problems == state.problems != ()


def test_a_failed_discovery_refuses_until_the_next_request() -> None:
    state, config = read_file(ReloadState("x.io", FILE))
    failed = msgspec.structs.replace(
        discovered(config, ResourceHolders()), result=DiscoveryResult(failed="it hangs")
    )
    state, effect = step_reload(state, failed, 0.0)
    assert effect == Refuse(("it hangs",))
    assert state.retry_at == math.inf
