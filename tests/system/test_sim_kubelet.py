"""The simulated kubelet does what device plugins see of a real one."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.sim.files import identity
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_admission import Dialling
from tests.sim.kubelet_book import Keeping
from tests.sim.kubelet_names import is_extended_resource
from tests.sim.kubelet_records import SeenDevice
from tests.sim.rpc import code_of
from tests.sim.tinyplugin import TinyPlugin

pytestmark = pytest.mark.system

ATOM = "rebellions.ai/ATOM"
TWO = {"a": 0, "b": None}


@pytest.fixture(params=list(Dialling), ids=lambda dialling: dialling.name.lower())
def kubelet(request: pytest.FixtureRequest, short_path: Path) -> Iterator[SimKubelet]:
    with SimKubelet(short_path, plugin_watcher=True, dialling=request.param) as kubelet:
        yield kubelet


@pytest.fixture
def plugin(kubelet: SimKubelet) -> Iterator[TinyPlugin]:
    with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
        yield plugin


def register(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    plugin.register(kubelet.plugins / "kubelet.sock")


def shows(kubelet: SimKubelet, allocatable: int, capacity: int) -> None:
    kubelet.wait(
        lambda k: (
            (k.resource(ATOM).allocatable, k.resource(ATOM).capacity) == (allocatable, capacity)
        ),
        what=f"{allocatable} of {capacity} devices",
    )


def test_a_registered_plugin_is_dialled_and_listed(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    assert kubelet.resource(ATOM).devices == {
        "a": SeenDevice("Healthy", (0,)),
        "b": SeenDevice("Healthy", ()),
    }
    (registration,) = kubelet.registrations
    assert (registration.path, registration.endpoint) == ("kubelet-sock", "tiny.sock")
    assert [opened.endpoint for opened in kubelet.openings] == ["tiny.sock"]


def test_each_message_replaces_the_devices(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    plugin.set_health("a", "Unhealthy")
    shows(kubelet, 1, 2)
    assert [len(message.devices) for message in kubelet.messages(ATOM)] == [2, 2]


def test_calls_go_to_the_plugin(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
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
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    plugin.end_streams()
    shows(kubelet, 0, 2)
    assert [ended.code for ended in kubelet.endings] == ["OK"]
    assert kubelet.resource(ATOM).endpoint is None
    with TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="again.sock") as again:
        register(kubelet, again)
        shows(kubelet, 2, 2)


def test_a_plugin_that_ends_leaves_its_capacity(kubelet: SimKubelet) -> None:
    with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
        register(kubelet, plugin)
        shows(kubelet, 2, 2)
    shows(kubelet, 0, 2)


def test_the_kubelet_can_end_a_stream(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    kubelet.close_stream(ATOM)
    shows(kubelet, 0, 2)
    assert [ended.code for ended in kubelet.endings] == ["CANCELLED"]


def test_a_restart_deletes_sockets_and_nothing_else(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    (kubelet.plugins / "kept").mkdir()
    (kubelet.plugins / "kept.sock").write_text("a plain file")
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    before = identity(kubelet.plugins / "kubelet.sock")
    kubelet.stop()
    assert stat.S_ISSOCK((kubelet.plugins / "kubelet.sock").stat().st_mode)
    assert plugin.socket.exists()
    kubelet.start()
    assert identity(kubelet.plugins / "kubelet.sock") != before
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
        caller.connect(str(kubelet.plugins / "kubelet.sock"))


def test_only_the_socket_is_made_anew(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    before = identity(kubelet.plugins / "kubelet.sock")
    kubelet.recreate_socket()
    assert identity(kubelet.plugins / "kubelet.sock") != before
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
        register(kubelet, plugin)
    assert code_of(refusal.value) == "UNKNOWN"
    assert words in kubelet.registrations[0].error
    assert kubelet.resources == {}


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("rebellions.ai/ATOM", True),
        ("intel.com/a_b-c.D", True),
        ("a/b", True),
        ("rebellions.ai/" + "x" * 63, True),
        ("rebellions.ai/" + "x" * 64, False),
        ("Rebellions.ai/ATOM", False),
        ("rebellions.ai/", False),
        ("rebellions.ai/-a", False),
        ("rebellions.ai/a/b", False),
        ("requests.rebellions.ai/a", False),
        ("node.kubernetes.io/a", False),
        ("", False),
    ],
)
def test_extended_resource_names(name: str, *, taken: bool) -> None:
    assert is_extended_resource(name) is taken


def test_a_refusal_can_be_asked_for(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    kubelet.knobs.refusal = "not today"
    with pytest.raises(grpc.RpcError):
        register(kubelet, plugin)
    kubelet.knobs.refusal = None
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    assert [registration.error for registration in kubelet.registrations] == ["not today", ""]


def test_a_registration_can_be_taken_without_a_dial(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    kubelet.knobs.dials = False
    register(kubelet, plugin)
    assert [registration.error for registration in kubelet.registrations] == [""]
    assert not kubelet.openings
    kubelet.knobs.dials = True
    register(kubelet, plugin)
    shows(kubelet, 2, 2)


def test_a_paused_reader_sees_the_newest_state_later(
    kubelet: SimKubelet, plugin: TinyPlugin
) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    kubelet.pause_reading()
    plugin.set_health("a", "Unhealthy")
    plugin.set_health("b", "Unhealthy")
    kubelet.resume_reading()
    shows(kubelet, 0, 2)


def test_a_paused_kubelet_can_stop(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    kubelet.pause_reading()
    kubelet.stop()


class TestPluginWatcher:
    def test_a_socket_is_found_and_told(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO) as plugin:
            shows(kubelet, 2, 2)
            assert plugin.first_notification().plugin_registered
            assert kubelet.registrations[0].path == "plugin-watcher"
        shows(kubelet, 0, 2)

    def test_plugins_are_found_again_without_their_doing(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            shows(kubelet, 2, 2)
            kubelet.restart()
            shows(kubelet, 2, 2)

    def test_a_removed_socket_deregisters(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO) as plugin:
            shows(kubelet, 2, 2)
            plugin.socket.unlink()
            shows(kubelet, 0, 2)

    def test_a_new_socket_of_the_same_name_is_registered(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            shows(kubelet, 2, 2)
            with TinyPlugin(kubelet.registry, ATOM, {"c": 1}):
                kubelet.wait(
                    lambda k: set(k.resource(ATOM).devices) == {"c"}, what="the new plugin's device"
                )

    def test_hidden_names_and_plain_files_are_ignored(self, kubelet: SimKubelet) -> None:
        (kubelet.registry / "file.sock").write_text("")
        with (
            TinyPlugin(kubelet.registry, "example.com/hidden", TWO, endpoint=".hidden.sock"),
            TinyPlugin(kubelet.registry, ATOM, TWO, endpoint="shown.sock"),
        ):
            shows(kubelet, 2, 2)
            assert set(kubelet.resources) == {ATOM}

    def test_another_kind_of_plugin_is_told_so(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO, kind="CSIPlugin") as plugin:
            kubelet.wait(lambda k: k.registrations, what="a refused registration")
            assert "CSIPlugin" in kubelet.registrations[0].error
            assert not plugin.first_notification().plugin_registered

    def test_a_refused_plugin_is_tried_again(self, kubelet: SimKubelet) -> None:
        kubelet.knobs.refusal = "not now"
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            kubelet.wait(lambda k: k.registrations, what="a refused registration")
            kubelet.knobs.refusal = None
            shows(kubelet, 2, 2)

    def test_a_dead_socket_does_not_keep_the_kubelet_from_stopping(
        self, kubelet: SimKubelet
    ) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(kubelet.registry / "dead.sock"))
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            shows(kubelet, 2, 2)


class TestSecondRegistration:
    def test_newer_kubelets_keep_both_sockets(self, short_path: Path) -> None:
        with (
            SimKubelet(short_path, keeping=Keeping.PER_SOCKET) as kubelet,
            TinyPlugin(kubelet.plugins, ATOM, {"old": 0}, endpoint="old.sock") as old,
        ):
            register(kubelet, old)
            shows(kubelet, 1, 1)
            with TinyPlugin(kubelet.plugins, ATOM, {"new": 0}, endpoint="new.sock") as new:
                register(kubelet, new)
                kubelet.wait(lambda k: "new" in k.resource(ATOM).devices, what="the new device")
                assert kubelet.resource(ATOM).endpoint == "new.sock"
                assert not kubelet.endings
            kubelet.wait(lambda k: "old" in k.resource(ATOM).devices, what="the old one promoted")
            assert kubelet.resource(ATOM).allocatable == 1
        assert kubelet.resource(ATOM).allocatable == 0

    def test_the_older_socket_may_end_first(self, short_path: Path) -> None:
        with SimKubelet(short_path, keeping=Keeping.PER_SOCKET) as kubelet:
            old = TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="old.sock")
            register(kubelet, old)
            shows(kubelet, 2, 2)
            with TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="new.sock") as new:
                register(kubelet, new)
                kubelet.wait(lambda k: len(k.messages()) == 2, what="the second message")
                old.close()
                kubelet.wait(lambda k: k.endings, what="the old stream's end")
                assert kubelet.resource(ATOM).allocatable == 2

    def test_older_kubelets_stop_the_first(self, short_path: Path) -> None:
        with (
            SimKubelet(short_path, keeping=Keeping.REPLACED) as kubelet,
            TinyPlugin(kubelet.plugins, ATOM, {"old": 0}, endpoint="old.sock") as old,
            TinyPlugin(kubelet.plugins, ATOM, {"new": 0}, endpoint="new.sock") as new,
        ):
            register(kubelet, old)
            shows(kubelet, 1, 1)
            register(kubelet, new)
            kubelet.wait(lambda k: k.endings, what="the old stream's end")
            assert [ended.endpoint for ended in kubelet.endings] == ["old.sock"]
            kubelet.wait(lambda k: "new" in k.resource(ATOM).devices, what="the new device")
            assert kubelet.resource(ATOM).allocatable == 1

    def test_the_same_socket_again_is_taken_and_not_dialled(self, short_path: Path) -> None:
        with (
            SimKubelet(short_path, keeping=Keeping.PER_SOCKET) as kubelet,
            TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin,
        ):
            register(kubelet, plugin)
            shows(kubelet, 2, 2)
            register(kubelet, plugin)
            assert [registration.error for registration in kubelet.registrations] == ["", ""]
            kubelet.stop()
            assert len(kubelet.openings) == 1


def test_a_failed_wait_tells_what_was_seen(kubelet: SimKubelet, plugin: TinyPlugin) -> None:
    register(kubelet, plugin)
    shows(kubelet, 2, 2)
    with pytest.raises(AssertionError, match=r"three devices[\s\S]*2 devices[\s\S]*2 of 2"):
        kubelet.wait(lambda k: k.resource(ATOM).capacity == 3, 0.01, what="three devices")


def test_a_plugin_that_does_not_serve_is_refused_where_the_dial_comes_first(
    short_path: Path,
) -> None:
    with (
        SimKubelet(short_path, dialling=Dialling.BEFORE_ANSWER) as kubelet,
        TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin,
    ):
        plugin.socket.unlink()
        kubelet.knobs.dial_deadline_s = 0.2
        with pytest.raises(grpc.RpcError):
            register(kubelet, plugin)
        assert "dial" in kubelet.registrations[0].error
