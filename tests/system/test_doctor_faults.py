"""rbln-ctl doctor against a real fault of each kind that it knows: what it says, how it ends."""

import re
from typing import get_args

import pytest

from rbln_supervisor.core.doctor.finding import Code
from rbln_supervisor.ctl.parser import build_parser
from tests.system import faults_around, faults_within
from tests.system.fault import Fault, plainly, seen, shown, told
from tests.system.scene import served

pytestmark = pytest.mark.system

FAULTS = (*faults_around.FAULTS, *faults_within.FAULTS)


def test_every_finding_has_its_fault() -> None:
    assert sorted(fault.code for fault in FAULTS) == sorted(get_args(Code))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
def test_a_fault_is_found(fault: Fault) -> None:
    with fault.system() as stack:
        served(stack, *fault.pools)
        well = told(plainly(stack, "--json"))
        assert (well.exit, well.findings) == (0, {})
        fault.arrange(stack)
        with fault.held(stack):
            said = seen(stack, fault.code, fault.ask, fault.word)
            title = f"{fault.severity.upper()} {fault.code}"
            page = shown(stack, fault.ask, title, fault.word)
        found = said.findings[fault.code]
        assert found["severity"] == fault.severity
        if fault.subject:
            assert found["subject"] == fault.subject.format(run_dir=stack.run_dir, root=stack.root)
        assert found["cause"]
        assert found["evidence"]
        assert all(found["evidence"])
        assert found["next"]
        for command in re.findall(r"(rbln-ctl [^;()]+)", found["next"]):
            build_parser().parse_args(command.split()[1:])
        ends = int(said.wrong) if fault.exit is None else fault.exit
        assert (said.exit, page.returncode) == (ends, ends)
        assert (said.unreachable is not None) == (ends == 3)
