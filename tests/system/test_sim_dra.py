"""The simulated kubelets treat DRA drivers as the real ones do (tests/e2e/cluster)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.dra_contract import BOTH, DraContract
from tests.sim.dra_records import Claim
from tests.sim.kubelet import SimKubelet, kubelet_1_34, kubelet_1_37
from tests.sim.tinydra import TinyDra

pytestmark = pytest.mark.system

DRIVER = "npu.example.com"
WITHIN_S = 20.0


class TestContract(DraContract):
    @pytest.fixture(params=[kubelet_1_37, kubelet_1_34])
    def kubelet(self, request: pytest.FixtureRequest, short_path: Path) -> Iterator[SimKubelet]:
        kubelet: SimKubelet = request.param(short_path)
        with kubelet:
            yield kubelet


def claim(name: str) -> Claim:
    return Claim("default", f"uid-{name}", name)


def test_the_newest_connected_socket_is_asked(kubelet: SimKubelet) -> None:
    with TinyDra(kubelet.registry, DRIVER, socket="one.sock") as one:
        assert kubelet.dra.comes(lambda dra: dra.endpoints(DRIVER) == ("one.sock",), WITHIN_S)
        with TinyDra(kubelet.registry, DRIVER, socket="two.sock") as two:
            both = ("one.sock", "two.sock")
            assert kubelet.dra.comes(lambda dra: dra.endpoints(DRIVER) == both, WITHIN_S)
            answer = kubelet.dra.prepare(DRIVER, [claim("a")])["uid-a"]
            assert (answer.error, answer.devices[0].cdi) == ("", ("a/b=c",))
        assert kubelet.dra.comes(lambda dra: dra.endpoints(DRIVER) == ("one.sock",), WITHIN_S)
        kubelet.dra.prepare(DRIVER, [claim("b")])
        assert (one.prepared, two.prepared) == (["b"], ["a"])
        assert kubelet.dra.unprepare(DRIVER, [claim("b")]) == {"uid-b": ""}


def test_health_is_unknown_when_it_is_old(kubelet: SimKubelet) -> None:
    with TinyDra(kubelet.registry, DRIVER, versions=BOTH):
        assert kubelet.dra.comes(lambda dra: dra.health, WITHIN_S)
        (health,) = kubelet.dra.health.values()
        assert (health.now(), health.message) == ("HEALTHY", "it is well")


def test_slices_are_wiped_at_the_start_and_after_the_last_socket(kubelet: SimKubelet) -> None:
    wiped: list[str] = []
    kubelet.dra.wipe = wiped.append
    kubelet.dra.wiping_delay_s = 2.0  # a connection takes less
    with TinyDra(kubelet.registry, DRIVER):
        assert kubelet.dra.comes(lambda dra: dra.endpoints(DRIVER), WITHIN_S)
        kubelet.restart()
        assert wiped == [""]
        assert kubelet.dra.comes(lambda dra: dra.endpoints(DRIVER), WITHIN_S)
    assert kubelet.dra.comes(lambda _: wiped[1:] == [DRIVER], WITHIN_S)


def test_a_driver_that_is_not_registered_is_not_asked(kubelet: SimKubelet) -> None:
    with pytest.raises(LookupError, match="not registered"):
        kubelet.dra.prepare(DRIVER, [claim("a")])
