"""Endpoints by number: what began earlier ends later than what began since."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.registration import RegistrationStep
from rbln_worker.core.registration_events import (
    Accepted,
    DirsChecked,
    Opened,
    OptionsRead,
    Streams,
    View,
)
from rbln_worker.core.step import effects
from rbln_worker.core.step.endpoint_state import LINGER_S, MAX_RETIRED, EndpointState
from rbln_worker.core.step.events import KubeletEvent
from rbln_worker.kubelet.front import DevicePluginFront
from rbln_worker.registrar import Registrar
from rbln_worker.spec import KubeletDirs

POOL = PoolName("rebellions.ai/ATOM")


def view(kubelet: int | None) -> DirsChecked:
    identity = None if kubelet is None else (kubelet,)
    return DirsChecked(View(identity, sock_folder=True, registry_folder=False, served=True))


def endpoint_effects(result: list[effects.Effect]) -> list[effects.Effect]:
    return [one for one in result if not isinstance(one, effects.RecordRegistration)]


def started() -> EndpointState:
    state = EndpointState("kubelet-sock")
    state.start_registering(0.0)
    return state


def test_a_kubelet_that_goes_and_comes_while_a_socket_opens() -> None:
    state = started()
    first = endpoint_effects(state.on_dirs_checked(view(1), 0.0))
    assert first == [effects.OpenEndpoint(1, "kubelet-sock")]
    assert endpoint_effects(state.on_dirs_checked(view(None), 0.1)) == []
    second = endpoint_effects(state.on_dirs_checked(view(2), 0.2))
    assert second == [effects.OpenEndpoint(2, "kubelet-sock")]
    late = state.on_endpoint_event(1, Opened("old.sock"), 0.3)
    assert late == [effects.CloseEndpoints((1,))], "nothing is registered of what is out of date"
    current = endpoint_effects(state.on_endpoint_event(2, Opened("new.sock"), 0.4))
    assert current == [effects.CallRegister(2)]
    assert state.name == "new.sock"


def registered(state: EndpointState, number: int, now: float) -> None:
    state.on_endpoint_event(number, Opened(f"{number}.sock"), now)
    state.on_endpoint_event(number, OptionsRead(pre_start=False), now)
    state.on_endpoint_event(number, Accepted(), now)
    state.on_endpoint_event(number, Streams(1), now)
    assert state.registration.step is RegistrationStep.LISTED


def test_an_endpoint_with_a_stream_serves_until_the_next_is_listed_for_a_while() -> None:
    state = started()
    state.on_dirs_checked(view(1), 0.0)
    registered(state, 1, 0.0)
    again = endpoint_effects(state.on_dirs_checked(view(2), 1.0))
    assert again == [effects.OpenEndpoint(2, "kubelet-sock")]
    registered(state, 2, 1.0)
    assert state.deadline == 1.0 + LINGER_S
    assert state.on_timer(1.0 + LINGER_S) == [effects.CloseEndpoints((1,))]


def test_of_many_endpoints_with_streams_the_oldest_is_closed() -> None:
    state = started()
    closed = []
    for number in range(1, MAX_RETIRED + 3):
        opened = endpoint_effects(state.on_dirs_checked(view(number), 0.0))
        closed += [one for one in opened if isinstance(one, effects.CloseEndpoints)]
        registered(state, number, 0.0)
    assert closed == [effects.CloseEndpoints((1,))]


def test_a_stream_of_an_earlier_endpoint_leads_to_a_new_registration() -> None:
    state = started()
    state.on_dirs_checked(view(1), 0.0)
    registered(state, 1, 0.0)
    state.on_dirs_checked(view(2), 1.0)
    registered(state, 2, 1.0)
    third = endpoint_effects(state.on_endpoint_event(1, Streams(2), 1.1))
    assert third == [effects.OpenEndpoint(3, "kubelet-sock")]


def test_options_that_the_kubelet_does_not_know_lead_to_a_new_registration() -> None:
    state = started()
    state.on_dirs_checked(view(1), 0.0)
    registered(state, 1, 0.0)
    assert state.set_options(1.0, pre_start=False) == []
    renewed = endpoint_effects(state.set_options(1.0, pre_start=True))
    assert renewed == [effects.OpenEndpoint(2, "kubelet-sock")]


def test_a_socket_that_opens_while_the_worker_leaves_is_removed(short_path: Path) -> None:
    """SIGTERM between the decision to open and the opening, which doesn't wait in between."""

    async def story() -> None:
        begun: list[Coroutine[Any, Any, None]] = []
        posted: list[KubeletEvent] = []
        dirs = KubeletDirs(
            short_path / "device-plugins", short_path / "watched", short_path, short_path
        )
        front = DevicePluginFront(POOL, WorkerCounters())
        registrar = Registrar(dirs, POOL, front, post=posted.append, spawn=begun.append)
        dirs.device_plugins.mkdir()
        registrar.perform(effects.OpenEndpoint(1, "kubelet-sock"))
        await registrar.close(10.0)
        (opening,) = begun
        await opening
        assert not any(path.is_socket() for path in dirs.device_plugins.iterdir())
        assert posted == []

    asyncio.run(story())
