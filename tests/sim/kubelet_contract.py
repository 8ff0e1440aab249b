"""What a device plugin sees of a kubelet 1.34 or 1.37, as claims.

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

    @property
    def keeps_each_socket(self) -> bool:
        """It keeps the registrations of a resource by socket path (1.37), not one by name."""

    @property
    def health_service(self) -> str:
        """The service by which it watches the health of DRA devices; empty before 1.36."""

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

    def test_register_asks_for_the_options_before_it_answers(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            assert plugin.calls[0] == "GetDevicePluginOptions"
            kubelet.wait_listed(resource, 2)
            assert plugin.calls == ("GetDevicePluginOptions", "ListAndWatch")

    def test_a_plugin_that_is_not_served_is_refused(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.socket.unlink()
            assert _refusal(plugin, kubelet) == "UNKNOWN"

    @pytest.mark.parametrize(
        ("name", "version"),
        [
            ("contract", "v1beta1"),
            ("kubernetes.io/contract", "v1beta1"),
            ("example.com/contract", "v1alpha1"),
        ],
    )
    def test_what_is_wrong_is_refused(self, kubelet: AnyKubelet, name: str, version: str) -> None:
        with TinyPlugin(kubelet.plugins, name, TWO, version=version) as plugin:
            assert _refusal(plugin, kubelet) == "UNKNOWN"

    def test_the_end_of_a_stream_leaves_the_capacity(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            plugin.end_streams()
            kubelet.wait_listed(resource, 0, 2)

    def test_messages_of_either_plugin_replace_the_list(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with (
            TinyPlugin(kubelet.plugins, resource, TWO, endpoint="old.sock") as old,
            TinyPlugin(kubelet.plugins, resource, ONE, endpoint="new.sock") as new,
        ):
            old.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            new.register(kubelet.socket)
            kubelet.wait_listed(resource, 1)
            old.set_health("a", "Unhealthy")
            kubelet.wait_listed(resource, 1, 2)
            new.set_health("c", "Healthy")
            kubelet.wait_listed(resource, 1)
            assert old.streams == new.streams == 1

    def test_the_end_of_the_older_plugin_ends_the_newer_where_one_is_kept_by_name(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, ONE, endpoint="new.sock") as new:
            with TinyPlugin(kubelet.plugins, resource, TWO, endpoint="old.sock") as old:
                old.register(kubelet.socket)
                kubelet.wait_listed(resource, 2)
                new.register(kubelet.socket)
                kubelet.wait_listed(resource, 1)
            if not kubelet.keeps_each_socket:
                kubelet.wait_listed(resource, 0, 1)
                new.wait_streams(0)
                return
            self.catch_up(kubelet)
            kubelet.wait_listed(resource, 1)
            new.set_health("c", "Unhealthy")
            kubelet.wait_listed(resource, 0, 1)
            assert new.streams == 1

    def test_the_end_of_the_newer_plugin_leaves_the_stream_of_the_older(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO, endpoint="old.sock") as old:
            old.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            with TinyPlugin(kubelet.plugins, resource, ONE, endpoint="new.sock") as new:
                new.register(kubelet.socket)
                kubelet.wait_listed(resource, 1)
            self.catch_up(kubelet)
            # The list stays the newer one's until the older one sends a message.
            kubelet.wait_listed(resource, 1 if kubelet.keeps_each_socket else 0, 1)
            old.set_health("a", "Unhealthy")
            kubelet.wait_listed(resource, 1, 2)
            assert old.streams == 1

    def test_all_devices_are_unhealthy_when_the_last_plugin_has_ended(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO, endpoint="old.sock") as old:
            old.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            with TinyPlugin(kubelet.plugins, resource, ONE, endpoint="new.sock") as new:
                new.register(kubelet.socket)
                kubelet.wait_listed(resource, 1)
        kubelet.wait_listed(resource, 0, 1)

    def test_a_path_that_is_connected(self, kubelet: AnyKubelet, resource: str) -> None:
        with TinyPlugin(kubelet.plugins, resource, TWO) as plugin:
            plugin.register(kubelet.socket)
            kubelet.wait_listed(resource, 2)
            if not kubelet.keeps_each_socket:
                plugin.register(kubelet.socket)
                plugin.wait_streams(2)
                return
            assert _refusal(plugin, kubelet) == "UNKNOWN"
            plugin.set_health("a", "Unhealthy")
            kubelet.wait_listed(resource, 1, 2)
            assert plugin.streams == 1
        # The refusal made the kubelet forget whose end it has to act on: nothing says that the
        # plugin has gone, and its path is refused until the kubelet is restarted.
        self.catch_up(kubelet)
        kubelet.wait_listed(resource, 1, 2)
        with TinyPlugin(kubelet.plugins, resource, ONE) as next_plugin:
            assert _refusal(next_plugin, kubelet) == "UNKNOWN"

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

    def test_the_watcher_takes_the_socket_for_an_empty_endpoint(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.registry, resource, TWO, info_endpoint="") as plugin:
            assert plugin.first_notification().plugin_registered
            kubelet.wait_listed(resource, 2)

    def test_the_watcher_tells_a_plugin_whose_endpoint_it_cannot_dial(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        nowhere = str(kubelet.registry / "nowhere.sock")
        with TinyPlugin(kubelet.registry, resource, TWO, info_endpoint=nowhere) as plugin:
            status = plugin.first_notification()
            assert not status.plugin_registered
            assert "failed to dial device plugin" in status.error
            if kubelet.keeps_each_socket:
                plugin.wait_calls("GetInfo", 2)
            else:  # tried once (kubernetes PR 133335 came with 1.36)
                self.catch_up_watcher(kubelet)
                self.catch_up_watcher(kubelet)
                assert plugin.calls.count("GetInfo") == 1

    def test_a_socket_that_leaves_the_registry_ends_its_plugin_or_the_latest(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        with TinyPlugin(kubelet.registry, resource, TWO, endpoint="old.sock") as old:
            kubelet.wait_listed(resource, 2)
            with TinyPlugin(kubelet.registry, resource, ONE, endpoint="new.sock") as new:
                kubelet.wait_listed(resource, 1)
                old.socket.unlink()
                if kubelet.keeps_each_socket:
                    old.wait_streams(0)
                    self.catch_up(kubelet)
                    kubelet.wait_listed(resource, 1)
                    assert new.streams == 1
                else:
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

    def test_a_restart_deletes_sockets_and_finds_what_lies_in_the_registry(
        self, kubelet: AnyKubelet, resource: str
    ) -> None:
        folder, file = kubelet.plugins / "folder", kubelet.plugins / "file"
        other = f"{resource}-called"
        with (
            _kept(folder, file),
            TinyPlugin(kubelet.plugins, other, TWO, endpoint="called.sock") as called,
            TinyPlugin(kubelet.registry, resource, TWO, endpoint="found.sock"),
        ):
            called.register(kubelet.socket)
            kubelet.wait_listed(other, 2)
            kubelet.wait_listed(resource, 2)
            kubelet.restart()
            kubelet.wait_listed(resource, 2)
            kubelet.wait_listed(other, 0, 0)
            assert folder.is_dir()
            assert file.is_file()
            assert not called.socket.exists()

    def catch_up(self, kubelet: AnyKubelet) -> None:
        """Return when a plugin that registers now is listed: what came before has been done."""
        name = f"example.com/{secrets.token_hex(4)}"
        with TinyPlugin(kubelet.plugins, name, ONE, endpoint="later.sock") as later:
            later.register(kubelet.socket)
            kubelet.wait_listed(name, 1)

    def catch_up_watcher(self, kubelet: AnyKubelet) -> None:
        """Return when a plugin that the watcher finds from now on is listed."""
        name = f"example.com/{secrets.token_hex(4)}"
        with TinyPlugin(kubelet.registry, name, ONE, endpoint="later.sock"):
            kubelet.wait_listed(name, 1)


@contextmanager
def _kept(folder: Path, file: Path) -> Iterator[None]:
    folder.mkdir()
    file.write_text("a plain file")
    yield
    file.unlink()
    folder.rmdir()


def _refusal(plugin: TinyPlugin, kubelet: AnyKubelet) -> str:
    """The code that Register ends with."""
    with pytest.raises(grpc.RpcError) as refusal:
        plugin.register(kubelet.socket)
    return code_of(refusal.value)
