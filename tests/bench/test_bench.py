"""A quick run of what ``scripts/bench`` does; how fast anything is, is no test's business."""

from pathlib import Path

import pytest

from tests.bench.catalogue import FIGURES
from tests.bench.compare import load
from tests.bench.running import begun, ended
from tests.bench.scene import SIZES, Size, config, npus, with_loner

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

QUICK = ("--quick", "--size", "small")


def test_every_figure_is_measured_and_compared(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    out, _ = ended(begun(*QUICK, "--json", str(first)), 0)
    report = load(first)
    assert [one.name for one in report.figures if one.count == 0 and not one.why] == []
    assert {one.name for one in report.figures} == FIGURES.keys()
    assert all(words in out for words in FIGURES.values())
    assert "now / then" not in out
    some = ("--only", "allocate,memory", "--compare", str(first), "--json", str(second))
    out, _ = ended(begun(*QUICK, *some), 0)
    assert {one.name for one in load(second).figures} == {
        *("allocate", "allocate-floor", "frames", "rss", "pss", "worker-private", "supervisor-pss")
    }
    row = next(line for line in out.splitlines() if line.startswith(FIGURES["rss"]))
    assert float(row.split()[-1]) > 0
    assert "now / then" in out
    assert f"then: {report.made.commit}, {report.made.date}" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--compare", "/nowhere.json"), "/nowhere.json: No such file or directory"),
        (("--only", "speed"), "'speed' is none of start, "),
        (("--size", "vast"), "'vast' is none of small, "),
        (("--json", "/nowhere/new.json"), "/nowhere: no such folder"),
        (("--only", "link", "--against", "sh {config}"), "--only has none of them"),
        (("--compare", "a", "--against", "b {config}"), "not allowed with"),
    ],
)
def test_what_can_not_be_done_is_said(arguments: tuple[str, ...], said: str) -> None:
    out, error = ended(begun(*arguments), 2)
    assert said in error
    assert "Traceback" not in error
    assert not out


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_each_device_of_a_node_is_in_one_pool(size: Size) -> None:
    for devices in (npus(size.devices), with_loner(size)):
        pools = config(size, devices)["resourceList"]
        given = [bdf for pool in pools for bdf in pool["selectors"]["pciAddresses"]]
        assert given == [device.bdf for device in devices]
        assert (len(pools), len(set(given))) == (size.pools, size.devices)
