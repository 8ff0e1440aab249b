"""rbln-ctl doctor against a real fault of each code: what it says, how it ends."""

import io
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rich.console import Console

from rbln_supervisor.ctl.doctor_command import doctor_page
from rbln_supervisor.ctl.main import build_parser
from rbln_worker.contract.problem import Code, Problem
from tests.sim.stack import Stack
from tests.system import faults_around, faults_dra, faults_within
from tests.system.dra_stack import DraStack
from tests.system.fault import Fault, plainly, seen, told
from tests.system.scene import served

pytestmark = pytest.mark.system

FAULTS = (*faults_around.FAULTS, *faults_within.FAULTS, *faults_dra.FAULTS)
WITHOUT = {Code.UNKNOWN, Code.PREFERENCE_FAILED, Code.CLAIMS_REBUILT}
"""Codes of another version (tests/property/test_diagnosis.py), and of a defect of our own
(tests/unit/test_preferences.py). That of claims: tests/system/test_dra_claims.py."""


def test_every_code_has_its_fault() -> None:
    assert {fault.code for fault in FAULTS} == {*Code} - WITHOUT


@pytest.mark.parametrize(
    "system", dict.fromkeys(fault.system for fault in FAULTS), ids=lambda system: system.__name__
)
def test_a_node_without_a_fault_has_no_problem(system: Callable[[], Stack]) -> None:
    with system() as stack:
        served(stack, *next(fault.pools for fault in FAULTS if fault.system is system))
        well = told(plainly(stack, "--json"))
        # Groups of NPUs need the vendor's tool, which no simulated node has.
        usual = {Code.RBLN_STAT_MISSING} if isinstance(stack, DraStack) else set[Code]()
        assert well.exit == 0
        assert well.problems.keys() <= usual


def page_of(problem: dict[str, Any], unreachable: str | None) -> str:
    """What people see of a problem, in one line; a process for that doubles the module's time."""
    stream = io.StringIO()
    page = doctor_page([msgspec.convert(problem, Problem)], unreachable)
    Console(file=stream, markup=False, highlight=False, emoji=False).print(page)
    return " ".join(stream.getvalue().split())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_fault_is_found(fault: Fault) -> None:
    with fault.system() as stack:
        served(stack, *fault.pools)
        fault.arrange(stack)
        with fault.held(stack):
            said = seen(stack, fault.code, fault.ask, fault.word)
        found = said.problems[fault.code]
        page = page_of(found, said.unreachable)
        assert f"{fault.severity.upper()} {fault.code}" in page
        assert fault.word in page
        assert found["severity"] == fault.severity
        if fault.subject:
            assert found["subject"] == fault.subject.format(run_dir=stack.run_dir, root=stack.root)
        assert found["text"]
        assert all(found["evidence"])
        assert found["hint"]
        for command in re.findall(r"(rbln-ctl [^;()]+)", found["hint"]):
            build_parser().parse_args(command.split()[1:])
        ends = int(said.wrong) if fault.exit is None else fault.exit
        assert said.exit == ends
        assert (said.unreachable is not None) == (ends == 3)
