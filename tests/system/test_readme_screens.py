"""Screens of README and docs/configure.md are what the commands print, but for numbers."""

import re
from collections.abc import Mapping
from typing import Final

import pytest

from scripts.screens import COMMANDS, screens
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import ATOM_POOL, ATOMS, TWO_POOLS, VM_POOL, config, pool, served
from tests.unit.pages import blocks, text

pytestmark = pytest.mark.system

OTHERWISE: Final[Mapping[str, str]] = {
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}(\+00:00)?": "TIME",
    r"\d+ s ago": "AGO",
    r"(pid|up) +\d+": r"\1 N",
    r"kubelet-sock +\d+": "kubelet-sock PID",
    r"-[0-9a-f]{16}\.sock": "-HEX.sock",
    r" +": " ",  # columns are as wide as what is in them
}


def shape(page: str) -> list[str]:
    """What is the same in every run."""
    for pattern, word in OTHERWISE.items():
        page = re.sub(pattern, word, page)
    return [line.rstrip() for line in page.strip().splitlines()]


def shown(command: str) -> str:
    """What README has of a command."""
    readme = (REPOSITORY / "README.md").read_text()
    _, _, rest = readme.partition(f"```\n$ rbln-ctl {command}\n")
    page, end, _ = rest.partition("\n```\n")
    assert end, f"README shows no rbln-ctl {command}"
    return page


def test_the_screens_are_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    printed = screens()
    assert {command: shape(shown(command)) for command in COMMANDS} == {
        command: shape(page) for command, page in printed.items()
    }


def test_the_reload_of_configure_md_is_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    (page,) = (
        body.removeprefix("$ rbln-ctl reload\n")
        for _, body in blocks(text("configure.md"))
        if body.startswith("$ rbln-ctl reload\n")
    )
    new = pool("NEW", pciAddresses=[ATOMS[0]])
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.write_config(config(new, ATOM_POOL, VM_POOL))
        assert shape(stack.ctl("reload").stdout) == shape(page)
