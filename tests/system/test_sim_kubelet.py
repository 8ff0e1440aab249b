"""The simulated kubelet does what device plugins see of a real one."""

import socket
import stat
from collections.abc import Iterator

import grpc
import pytest

from tests.sim.files import identity
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import SeenDevice
from tests.sim.rpc import code_of
from tests.sim.tinyplugin import TinyPlugin

pytestmark = pytest.mark.system

ATOM = "rebellions.ai/ATOM"
TWO = {"a": 0, "b": None}


@pytest.fixture
def plugin(kubelet: SimKubelet) -> Iterator[TinyPlugin]:
    with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
        yield plugin


def test_a_registered_plugin_is_dialled_and_listed(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    assert kubelet.resource(ATOM).devices == {
        "a": SeenDevice("Healthy", (0,)),
        "b": SeenDevice("Healthy", ()),
    }
    (registration,) = kubelet.registrations
    assert (registration.path, registration.endpoint) == ("kubelet-sock", "tiny.sock")
    assert [opened.endpoint for opened in kubelet.openings] == ["tiny.sock"]


def test_each_message_replaces_the_devices(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    plugin.set_health("a", "Unhealthy")
    kubelet.wait_listed(ATOM, 1, 2)
    assert [len(message.devices) for message in kubelet.messages(ATOM)] == [2, 2]


def test_calls_go_to_the_plugin(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    reply = kubelet.allocate(ATOM, [["b", "a"], ["a"]])
    assert [dict(one.envs) for one in reply.container_responses] == [
        {"TINY": "a,b"},
        {"TINY": "a"},
    ]
    assert kubelet.preferred(ATOM, ["b", "a"], [], 1) == ["a"]
    assert kubelet.options(ATOM).get_preferred_allocation_available
    kubelet.prestart(ATOM, ["a"])


def test_a_finished_stream_is_final_until_the_plugin_registers_again(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    plugin.end_streams()
    kubelet.wait_listed(ATOM, 0, 2)
    assert [ended.code for ended in kubelet.endings] == ["OK"]
    assert kubelet.resource(ATOM).endpoint is None
    with TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="again.sock") as again:
        again.register(kubelet.socket)
        kubelet.wait_listed(ATOM, 2)


def test_a_plugin_that_ends_leaves_its_capacity(kubelet: SimKubelet) -> None:
    with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
        plugin.register(kubelet.socket)
        kubelet.wait_listed(ATOM, 2)
    kubelet.wait_listed(ATOM, 0, 2)


def test_the_kubelet_can_end_a_stream(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    kubelet.close_stream(ATOM)
    kubelet.wait_listed(ATOM, 0, 2)
    assert [ended.code for ended in kubelet.endings] == ["CANCELLED"]


def test_a_restart_deletes_sockets_and_nothing_else(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    (kubelet.plugins / "kept").mkdir()
    (kubelet.plugins / "kept.sock").write_text("a plain file")
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    before = identity(kubelet.socket)
    kubelet.stop()
    assert stat.S_ISSOCK(kubelet.socket.stat().st_mode)
    assert plugin.socket.exists()
    kubelet.start()
    assert identity(kubelet.socket) != before
    names = {path.name for path in kubelet.plugins.iterdir()}
    assert names == {"kubelet.sock", "kept", "kept.sock", "DEPRECATION"}
    assert stat.S_IMODE(kubelet.plugins.stat().st_mode) == 0o750
    assert kubelet.resources == {}


def test_a_dead_kubelets_socket_refuses(kubelet: SimKubelet) -> None:
    kubelet.stop()
    with (
        socket.socket(socket.AF_UNIX) as caller,
        pytest.raises(ConnectionRefusedError),
    ):
        caller.connect(str(kubelet.socket))


def test_only_the_socket_is_made_anew(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    before = identity(kubelet.socket)
    kubelet.recreate_socket()
    assert identity(kubelet.socket) != before
    assert kubelet.resource(ATOM).allocatable == 2
    assert not kubelet.endings


@pytest.mark.parametrize(
    ("resource", "version", "words"),
    [
        ("ATOM", "v1beta1", "invalid"),
        ("kubernetes.io/ATOM", "v1beta1", "invalid"),
        (ATOM, "v1alpha1", "not supported"),
    ],
)
def test_what_is_wrong_is_refused(
    kubelet: SimKubelet, resource: str, version: str, words: str
) -> None:
    with (
        TinyPlugin(kubelet.plugins, resource, TWO, version=version) as plugin,
        pytest.raises(grpc.RpcError) as refusal,
    ):
        plugin.register(kubelet.socket)
    assert code_of(refusal.value) == "UNKNOWN"
    assert words in kubelet.registrations[0].error
    assert kubelet.resources == {}


def test_a_refusal_can_be_asked_for(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    kubelet.knobs.refusal = "not today"
    with pytest.raises(grpc.RpcError):
        plugin.register(kubelet.socket)
    kubelet.knobs.refusal = None
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    assert [registration.error for registration in kubelet.registrations] == ["not today", ""]


def test_a_registration_can_be_taken_without_a_dial(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    kubelet.knobs.dials = False
    plugin.register(kubelet.socket)
    assert [registration.error for registration in kubelet.registrations] == [""]
    assert not kubelet.openings
    kubelet.knobs.dials = True
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)


def test_a_paused_reader_sees_the_newest_state_later(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    kubelet.pause_reading()
    plugin.set_health("a", "Unhealthy")
    plugin.set_health("b", "Unhealthy")
    kubelet.resume_reading()
    kubelet.wait_listed(ATOM, 0, 2)


def test_a_paused_kubelet_can_stop(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    kubelet.pause_reading()
    kubelet.stop()


def test_a_failed_wait_tells_what_was_seen(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.socket)
    kubelet.wait_listed(ATOM, 2)
    with pytest.raises(AssertionError, match=r"three devices[\s\S]*2 devices[\s\S]*2 of 2"):
        kubelet.wait(lambda k: k.resource(ATOM).capacity == 3, 0.01, what="three devices")


def test_a_plugin_that_does_not_serve_is_refused(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.socket.unlink()
    kubelet.knobs.dial_deadline_s = 0.2
    with pytest.raises(grpc.RpcError):
        plugin.register(kubelet.socket)
    assert "dial" in kubelet.registrations[0].error
