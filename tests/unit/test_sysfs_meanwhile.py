"""A look at functions that come and go meanwhile; tests/e2e/kernel has them really do so."""

import os
from pathlib import Path

import pytest

from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.host.discovery.inventory import Needs
from rbln_worker.host.discovery.scan import scan_node
from tests.sim.device import SimDevice
from tests.sim.node import SimNode

STAYS = SimDevice(bdf="0000:20:00.0", rbln="rbln0")
GOES = SimDevice(bdf="0000:21:00.0", rbln="rbln1")


def scan(root: Path) -> NodeInventory:
    return scan_node(root, Needs(base_classes=frozenset({0x12}))).node


@pytest.fixture
def node(short_path: Path) -> SimNode:
    node = SimNode(short_path)
    node.add(STAYS, GOES)
    return node


def test_a_function_that_leaves_meanwhile_is_not_there(
    node: SimNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir

    def gone_once_listed(path: str | Path) -> list[str]:
        names = listdir(path)
        if GOES.bdf in node.devices:
            node.remove(GOES.bdf)
        return names

    monkeypatch.setattr(os, "listdir", gone_once_listed)
    found = scan(node.root)
    assert list(found.functions) == [STAYS.bdf]
    assert found.unreadable == {}


def test_a_driver_that_leaves_meanwhile_is_none(
    node: SimNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir

    def unbound_once_listed(path: str | Path) -> list[str]:
        names = listdir(path)
        if str(path).endswith(GOES.bdf):
            node.unbind(GOES.bdf)
        return names

    monkeypatch.setattr(os, "listdir", unbound_once_listed)
    found = scan(node.root)
    assert [function.driver for function in found.functions.values()] == ["rebellions", None]
    assert found.unreadable == {}
