"""What a device plugin sees of a kubelet 1.20, as claims.

They are tested with the simulated and the real one, by subclasses that have a fixture ``kubelet``.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import grpc
import pytest

from tests.sim.rpc import code_of
from tests.sim.tinyplugin import TinyPlugin

TWO: Final[Mapping[str, int | None]] = {"a": 0, "b": None}
ONE: Final[Mapping[str, int | None]] = {"c": None}


class AnyKubelet(Protocol):
    """A running kubelet with a plugin watcher."""

    plugins: Path
    """The folder device-plugins."""
    registry: Path
    """The folder plugins_registry."""
    socket: Path

    def wait_listed(self, name: str, allocatable: int, capacity: int | None = None) -> None:
        """Wait until the node shows so many devices; all healthy where only one number is said."""

    def restart(self) -> None:
        """Stop it, start it, and wait until it takes registrations."""


class KubeletContract:
    """The claims."""

    @pytest.fixture
    def resource(self) -> str:
        """A resource that the kubelet has never heard of."""
        return f"example.com/{secrets.token_hex(4)}"

    def test_a_plugin_is_listed_with_its_healthy_devices(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            plugin.set_health("a", "Unhealthy")
            kubelet.wait_listed(resource, 1, 2)
            plugin.set_health("a", "Healthy")
            kubelet.wait_listed(resource, 2)

    def test_register_says_the_options_and_nobody_asks_again(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            assert plugin.calls == ("ListAndWatch",)

    @pytest.mark.parametrize(
        ("name", "version"),
        [
            ("contract", "v1beta1"),
            ("kubernetes.io/contract", "v1beta1"),
            ("example.com/contract", "v1alpha1"),
        ],
    )
    def test_what_is_wrong_is_refused(self, kubelet: AnyKubelet, name: str, version: str) -> None:
        with (
            TinyPlugin(kubelet.plugins, name, TWO, version=version) as plugin,
            pytest.raises(grpc.RpcError) as refusal,
        ):
            plugin.register(kubelet.socket)
        assert code_of(refusal.value) == "UNKNOWN"

    def test_the_end_of_a_stream_leaves_the_capacity(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            plugin.end_streams()
            kubelet.wait_listed(resource, 0, 2)

    def test_an_older_plugin_is_heard_until_it_ends_and_its_end_is_not(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, ONE, endpoint="new.sock") as new:
            with TinyPlugin(kubelet.plugins, resource, TWO, endpoint="old.sock") as old:
                old.register(kubelet.socket)
                kubelet.wait_listed(resource, 2)
                new.register(kubelet.socket)
                kubelet.wait_listed(resource, 1)
                old.set_health("a", "Unhealthy")
                kubelet.wait_listed(resource, 1, 2)
                new.set_health("c", "Healthy")
                kubelet.wait_listed(resource, 1)
                assert old.streams == new.streams == 1
            # What would have come of the old one's end came before this is seen.
            new.set_health("c", "Unhealthy")
            kubelet.wait_listed(resource, 0, 1)
            new.set_health("c", "Healthy")
            kubelet.wait_listed(resource, 1)
            assert new.streams == 1

    def test_the_watcher_dials_first_and_tells_then(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.registry, resource, TWO) as plugin:
            assert plugin.first_notification().plugin_registered
            kubelet.wait_listed(resource, 2)
            assert [call for call in plugin.calls if call != "ListAndWatch"] == [
                "GetInfo",
                "GetDevicePluginOptions",
                "NotifyRegistrationStatus",
            ]

    def test_the_watcher_ignores_hidden_names(self, kubelet: AnyKubelet, resource: str) -> None:
        with (
            TinyPlugin(kubelet.registry, "example.com/hidden", TWO, endpoint=".h.sock") as hidden,
            TinyPlugin(kubelet.registry, resource, TWO),
        ):
            kubelet.wait_listed(resource, 2)
            assert not hidden.calls

    def test_a_socket_that_leaves_the_registry_ends_the_latest_plugin(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.registry, resource, TWO, endpoint="old.sock") as old:
            kubelet.wait_listed(resource, 2)
            with TinyPlugin(kubelet.registry, resource, ONE, endpoint="new.sock") as new:
                kubelet.wait_listed(resource, 1)
                old.socket.unlink()
                kubelet.wait_listed(resource, 0, 1)
                new.wait_streams(0)
                assert old.streams == 1

    def test_a_socket_that_leaves_before_the_next_comes_ends_nothing_else(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.registry, resource, TWO, endpoint="old.sock") as old:
            kubelet.wait_listed(resource, 2)
            old.socket.unlink()
            with TinyPlugin(kubelet.registry, resource, ONE, endpoint="new.sock") as new:
                kubelet.wait_listed(resource, 1)
                old.wait_streams(0)
                assert new.streams == 1

    def test_a_restart_deletes_files_and_finds_what_lies_in_the_registry(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        kept, lost = kubelet.plugins / "kept", kubelet.plugins / "lost"
        other = f"{resource}-called"
        with (
            _folder(kept),
            TinyPlugin(kubelet.plugins, other, TWO, endpoint="called.sock") as called,
            TinyPlugin(kubelet.registry, resource, TWO, endpoint="found.sock"),
        ):
            lost.write_text("a plain file")
            called.register(kubelet.socket)
            kubelet.wait_listed(other, 2)
            kubelet.wait_listed(resource, 2)
            kubelet.restart()
            kubelet.wait_listed(resource, 2)
            kubelet.wait_listed(other, 0, 0)
            assert kept.is_dir()
            assert not lost.exists()
            assert not called.socket.exists()


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    path.mkdir()
    yield
    path.rmdir()
