"""There are no man pages: --help of each program and command has to suffice."""

import re
import subprocess
import sys

import pytest

from rbln_supervisor.ctl.command import Exit as OfCtl
from rbln_supervisor.ctl.main import COMMANDS
from rbln_worker.contract.exits import Exit
from tests.sim.stack import REPOSITORY

USAGE = 2


def said(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments, "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def codes(text: str) -> set[int]:
    return {int(code) for code in re.findall(r"^  (\d+)  ", text, re.MULTILINE)}


def examples(text: str) -> str:
    return text.partition("examples:\n")[2]


def unexplained(text: str) -> list[str]:
    """Options and words of which nothing is said."""
    lines = text.partition("options:\n")[2].partition("\n\n")[0].splitlines()
    return [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("  -") and "  " not in line.strip() and not after.startswith(" " * 10)
    ]


@pytest.mark.parametrize("verb", COMMANDS)
def test_each_command_has_examples_and_exit_codes(verb: str) -> None:
    text = said("rbln_supervisor.ctl", verb)
    assert f"rbln-ctl {verb}" in examples(text)
    assert codes(text) == {*OfCtl, USAGE}
    assert unexplained(text) == []
    assert "--json" in text
    assert "--run-dir" in text


def test_rbln_ctl_names_its_commands_and_where_to_begin() -> None:
    text = said("rbln_supervisor.ctl")
    assert set(COMMANDS) <= set(re.findall(r"^    ([a-z-]+)(?: |$)", text, re.MULTILINE))
    assert "where to begin:\n  rbln-ctl doctor" in text
    assert codes(text) == {*OfCtl, USAGE}


@pytest.mark.parametrize(
    ("program", "name", "ends"),
    [
        (
            "rbln_supervisor",
            "rbln-supervisor",
            {Exit.DRAINED, Exit.UNUSABLE, Exit.USAGE, Exit.CRASHED},
        ),
        ("rbln_supervisor.agent", "rbln-agent", {Exit.DRAINED, Exit.USAGE}),
        ("rbln_supervisor.exporter", "rbln-exporter", {Exit.DRAINED, Exit.UNUSABLE, Exit.USAGE}),
    ],
)
def test_the_programs_that_serve_have_them_too(program: str, name: str, ends: set[Exit]) -> None:
    text = said(program)
    assert f"  {name} --" in examples(text)
    assert codes(text) == ends
    assert unexplained(text) == []


def test_what_is_unexplained_would_be_found() -> None:
    assert unexplained("options:\n  --a A\n  --b B  it\n  --c C\n             it\n\n") == [
        "  --a A"
    ]
