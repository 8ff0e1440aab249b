"""The simulated kubelet takes and refuses registrations as a real one does."""

import socket
from pathlib import Path

import grpc
import pytest

from tests.sim.kubelet import SimKubelet, kubelet_1_34
from tests.sim.kubelet_names import is_extended_resource
from tests.sim.tinyplugin import TinyPlugin

pytestmark = pytest.mark.system

ATOM = "rebellions.ai/ATOM"
TWO = {"a": 0, "b": None}


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


class TestPluginWatcher:
    def test_a_socket_is_found_and_told(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO) as plugin:
            kubelet.wait_listed(ATOM, 2)
            assert plugin.first_notification().plugin_registered
            assert kubelet.registrations[0].path == "plugin-watcher"
        kubelet.wait_listed(ATOM, 0, 2)

    def test_plugins_are_found_again_without_their_doing(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            kubelet.wait_listed(ATOM, 2)
            kubelet.restart()
            kubelet.wait_listed(ATOM, 2)

    def test_a_removed_socket_deregisters(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO) as plugin:
            kubelet.wait_listed(ATOM, 2)
            plugin.socket.unlink()
            kubelet.wait_listed(ATOM, 0, 2)

    def test_a_new_socket_of_the_same_name_is_registered(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            kubelet.wait_listed(ATOM, 2)
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
            kubelet.wait_listed(ATOM, 2)
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
            kubelet.wait_listed(ATOM, 2)

    def test_a_dead_socket_does_not_keep_the_kubelet_from_stopping(
        self, kubelet: SimKubelet
    ) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(kubelet.registry / "dead.sock"))
        with TinyPlugin(kubelet.registry, ATOM, TWO):
            kubelet.wait_listed(ATOM, 2)


class TestSecondRegistration:
    def test_since_1_37_the_remaining_one_is_asked(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.plugins, ATOM, {"old": 0}, endpoint="old.sock") as old:
            old.register(kubelet.socket)
            kubelet.wait_listed(ATOM, 1)
            with TinyPlugin(kubelet.plugins, ATOM, {"new": 0}, endpoint="new.sock") as new:
                new.register(kubelet.socket)
                kubelet.wait(lambda k: "new" in k.resource(ATOM).devices, what="the new device")
                assert kubelet.resource(ATOM).endpoint == "new.sock"
                assert not kubelet.endings
            kubelet.wait(
                lambda k: k.resource(ATOM).endpoint == "old.sock", what="the old one is asked"
            )
            assert kubelet.resource(ATOM).devices.keys() == {"new"}
            assert kubelet.resource(ATOM).allocatable == 1
            assert kubelet.allocate(ATOM, [["old"]]).container_responses
            old.set_health("old", "Healthy")
            kubelet.wait(lambda k: "old" in k.resource(ATOM).devices, what="the old device")
        kubelet.wait_listed(ATOM, 0, 1)
        assert kubelet.resource(ATOM).endpoint is None

    def test_since_1_37_the_older_may_end_first(self, kubelet: SimKubelet) -> None:
        old = TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="old.sock")
        old.register(kubelet.socket)
        kubelet.wait_listed(ATOM, 2)
        with TinyPlugin(kubelet.plugins, ATOM, TWO, endpoint="new.sock") as new:
            new.register(kubelet.socket)
            kubelet.wait(lambda k: len(k.messages()) == 2, what="the second message")
            old.close()
            kubelet.wait(lambda k: k.endings, what="the old stream's end")
            assert kubelet.resource(ATOM).allocatable == 2
            assert kubelet.resource(ATOM).endpoint == "new.sock"

    def test_before_1_37_nobody_is_asked_when_one_has_ended(self, short_path: Path) -> None:
        with (
            kubelet_1_34(short_path) as kubelet,
            TinyPlugin(kubelet.plugins, ATOM, {"new": 0}, endpoint="new.sock") as new,
        ):
            with TinyPlugin(kubelet.plugins, ATOM, {"old": 0}, endpoint="old.sock") as old:
                old.register(kubelet.socket)
                kubelet.wait_listed(ATOM, 1)
                new.register(kubelet.socket)
                kubelet.wait(lambda k: "new" in k.resource(ATOM).devices, what="the new device")
                assert kubelet.resource(ATOM).endpoint == "new.sock"
            kubelet.wait(lambda k: len(k.endings) == 2, what="the end of both streams")
            codes = {ended.endpoint: ended.code for ended in kubelet.endings}
            assert codes["new.sock"] == "CANCELLED"
            assert kubelet.resource(ATOM).endpoint is None
            assert kubelet.resource(ATOM).allocatable == 0

    def test_a_path_that_is_connected_stays_the_endpoint(self, kubelet: SimKubelet) -> None:
        with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(ATOM, 2)
            with pytest.raises(grpc.RpcError):
                plugin.register(kubelet.socket)
            assert "already connected" in kubelet.registrations[-1].error
        kubelet.wait(lambda k: k.endings, what="the stream's end")
        assert kubelet.resource(ATOM).allocatable == 2  # nobody is there, nothing was noticed
        kubelet.restart()
        with TinyPlugin(kubelet.plugins, ATOM, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(ATOM, 2)
