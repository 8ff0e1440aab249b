"""The kubelet restarts: the pools are back at once, and running pods keep what they have."""

from typing import Final

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.kubelet_log import ADMITS, LISTED, SERVES, KubeletLog
from tests.e2e.cluster.plugin import Plugin
from tests.system.scene import ATOM, VM

LISTED_WITHIN_S: Final = 0.2
"""Of the moment at which the kubelet takes registrations; a tenth of it on an idle machine."""


def test_pools_are_listed_at_once_and_a_pod_that_waits_gets_its_devices(
    plugin: Plugin, bench: Bench, way: str
) -> None:
    held = bench.pod({ATOM: 2}).running()
    with bench.untouched(held):
        bench.cluster.stop_kubelet()
        log = KubeletLog(bench.cluster.daemons.log("kubelet"))
        waiting = bench.pod({ATOM: 2})  # on the node, so nobody asks how much there is
        bench.cluster.start_kubelet()
        bench.cluster.wait_kubelet()
        admitted = waiting.admitted()
        bench.settled(ATOM)
    plugin.serves(ATOM, VM)
    serves, admits = log.first(SERVES), log.first(ADMITS, waiting.name)
    listed = max(log.first(LISTED, f'resource="{name}"') for name in (ATOM, VM))
    said = plugin.registered_at(ATOM, since=serves)
    assert serves < listed < serves + LISTED_WITHIN_S
    # The kubelet admits 100 ms after its main loop began, wherever its other parts are by then: on
    # a busy machine that can be before any plugin could call.
    assert admitted or admits < listed
    bench.report.add(
        f"the kubelet restarts ({way})",
        f"both pools listed {_ms(listed - serves)} after it takes registrations (our log says so "
        f"after {_ms(said - serves)}), pods admitted after {_ms(admits - serves)}: one that waited "
        f"on the node {'runs' if admitted else 'was too early'}, the running one ran on",
        listed - serves,
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
