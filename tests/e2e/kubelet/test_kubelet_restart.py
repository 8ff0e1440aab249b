"""The kubelet restarts: registered before it admits a pod, and running pods keep what they have."""

from tests.e2e.kubelet.bench import Bench
from tests.e2e.kubelet.kubelet_log import ADMITS, LISTED, SERVES, KubeletLog
from tests.e2e.kubelet.plugin import Plugin
from tests.system.scene import ATOM, VM


def test_it_knows_the_devices_before_it_admits_a_pod(
    plugin: Plugin, bench: Bench, way: str
) -> None:
    held = bench.pod({ATOM: 2}).running()
    with bench.untouched(held):
        bench.cluster.stop_kubelet()
        log = KubeletLog(bench.cluster.daemons.log("kubelet"))
        waiting = bench.pod({ATOM: 2})  # on the node, so nobody asks how much there is
        bench.cluster.start_kubelet()
        waiting.running()
        bench.settled(ATOM)
    plugin.serves(ATOM, VM)
    serves, admits = log.first(SERVES), log.first(ADMITS)
    listed = max(log.first(f"{LISTED} {name}") for name in (ATOM, VM))
    said = plugin.registered_at(ATOM, since=serves)
    assert serves < listed < admits
    bench.report.add(
        f"the kubelet restarts ({way})",
        f"both pools listed {_ms(listed - serves)} after it takes registrations (our log says so "
        f"after {_ms(said - serves)}), pods admitted after {_ms(admits - serves)}: a pod that "
        "waited on the node runs, the running one ran on",
        listed - serves,
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
