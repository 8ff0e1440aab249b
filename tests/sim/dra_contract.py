"""What a DRA driver sees of a kubelet 1.34 or 1.37, as claims.

They are tested with the simulated and the real one, by subclasses that have a fixture ``kubelet``.
"""

import secrets
from typing import Final

import pytest

from tests.sim.kubelet_contract import AnyKubelet
from tests.sim.tinydra import V1, TinyDra

BOTH: Final = (*V1, "v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth")


class DraContract:
    """The claims."""

    @pytest.fixture
    def driver(self) -> str:
        """A driver that the kubelet does not know."""
        return f"{secrets.token_hex(4)}.example.com"

    @pytest.mark.parametrize("versions", [V1, ("v1beta1.DRAPlugin",)])
    def test_a_driver_with_either_version_is_registered(
        self, kubelet: AnyKubelet, driver: str, versions: tuple[str, ...]
    ) -> None:
        with TinyDra(kubelet.registry, driver, versions=versions) as tiny:
            assert tiny.first_notification().plugin_registered

    def test_a_driver_without_a_known_version_is_refused(
        self, kubelet: AnyKubelet, driver: str
    ) -> None:
        with TinyDra(kubelet.registry, driver, versions=("v1alpha4", "1.0.0")) as tiny:
            status = tiny.first_notification()
            assert not status.plugin_registered
            assert "none of" in status.error or "unsupported" in status.error

    def test_one_socket_serves_registration_and_driver(
        self, kubelet: AnyKubelet, driver: str
    ) -> None:
        with TinyDra(kubelet.registry, driver, versions=BOTH) as tiny:
            assert tiny.first_notification().plugin_registered
            if not kubelet.health_service:
                pytest.skip("this kubelet does not watch health: its gate is off before 1.36")
            assert tiny.first_stream() == kubelet.health_service

    def test_a_driver_may_have_several_sockets(self, kubelet: AnyKubelet, driver: str) -> None:
        with (
            TinyDra(kubelet.registry, driver, socket="one-dra.sock") as one,
            TinyDra(kubelet.registry, driver, socket="two-dra.sock") as two,
        ):
            assert one.first_notification().plugin_registered
            assert two.first_notification().plugin_registered

    def test_an_endpoint_that_is_registered_is_refused(
        self, kubelet: AnyKubelet, driver: str
    ) -> None:
        with TinyDra(kubelet.registry, driver, socket="one-dra.sock") as one:
            assert one.first_notification().plugin_registered
            with TinyDra(
                kubelet.registry, driver, socket="two-dra.sock", endpoint=one.socket
            ) as two:
                status = two.first_notification()
                assert not status.plugin_registered
                assert "already registered" in status.error

    def test_a_restart_finds_the_driver_again(self, kubelet: AnyKubelet, driver: str) -> None:
        with TinyDra(kubelet.registry, driver) as tiny:
            assert tiny.first_notification().plugin_registered
            kubelet.restart()
            tiny.wait_notifications(2)
            assert tiny.notifications[1].plugin_registered
