"""rbln-ctl upgrade on the host: another version serves, and pods run on."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.cluster.bench import FULL, Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.history import History
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.plugin import Plugin
from tests.e2e.cluster.setting import at_least
from tests.sim.stack import REPOSITORY
from tests.system.scene import ATOM, TWO_POOLS, VM

pytestmark = pytest.mark.by_release


MAX_DARK_S = 0.5
"""What a kubelet up to 1.36 may have nothing to give out, from one stream to the next."""


@pytest.fixture
def program(home: Path) -> Path:
    """The packages, in a folder where they can be changed."""
    folder = home / "program"
    for package in ("rbln_supervisor", "rbln_worker"):
        shutil.copytree(
            REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


@pytest.fixture
def upgradable(
    cluster: Cluster, history: History, node: HostNode, home: Path, program: Path
) -> Iterator[Plugin]:
    """A supervisor on the host that runs them; all pools are listed."""
    way = "kubelet-sock"
    with Plugin(
        home / "upgraded", node.root, TWO_POOLS, way, cluster.traces, program=program
    ) as plugin:
        plugin.serves(ATOM, VM)
        for name, full in FULL.items():
            history.wait_quiet(name, full, 1.5)
        yield plugin


def test_an_upgrade_on_the_host(upgradable: Plugin, program: Path, bench: Bench) -> None:
    plugin = upgradable
    container = bench.pod({ATOM: 2}).running()
    (program / "rbln_worker/contract/version.py").write_text('VERSION = "9.9.9"\n')
    before = plugin.worker(ATOM)
    # Up to 1.36 the kubelet ends the newer stream once when the older one ends.
    with bench.untouched(container, resources=(ATOM, VM) if at_least(37) else ()):
        began = monotonic()
        said = plugin.ctl("upgrade")
        took_s = monotonic() - began
        # The old worker ends a second after the new one is listed.
        bench.history.wait_quiet(ATOM, FULL[ATOM], 4.0)
    assert "to 9.9.9, 0 workers kept, 2 replaced" in said
    assert plugin.worker(ATOM) != before
    assert plugin.status().pools[ATOM].worker.version == "9.9.9"
    bench.pod({ATOM: 2}).running()
    seen = bench.blip(ATOM)
    assert seen.dark_s < (0.01 if at_least(37) else MAX_DARK_S)
    bench.report.add("rbln-ctl upgrade to another version, on the host", str(seen), took_s)
