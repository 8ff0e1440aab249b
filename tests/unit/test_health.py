"""The verdict on what was read of a device."""

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.core.answer import DeviceAnswer
from rbln_worker.core.health import HEALTHY, judge, silent

BDF = DeviceId("0000:20:00.0")
DEVICE = Device(BDF, PciFunction(Bdf(BDF), "1eff", "1120", 0x12, "rebellions", 0))
GONE = Device(BDF, DEVICE.function, gone="unplugged")


def answer(*faults: str) -> DeviceAnswer:
    return DeviceAnswer(BDF, (), (), "", faults)


def test_a_device_that_has_all_it_needs_is_healthy() -> None:
    assert judge(DEVICE, answer(), ()) == HEALTHY


def test_what_is_gone_is_not_judged_further() -> None:
    assert judge(GONE, answer("x"), ("/dev/y",)).reason == "unplugged"


def test_faults_come_before_missing_nodes() -> None:
    assert judge(DEVICE, answer("x", "y"), ("/dev/z",)).reason == "x; y"
    assert judge(DEVICE, answer(), ("/dev/y", "/dev/z")).reason == "/dev/y, /dev/z do not exist"


def test_no_answer_is_no_health() -> None:
    verdict = silent(5.0)
    assert not verdict.healthy
    assert verdict.reason == "its files did not answer within 5 s"
