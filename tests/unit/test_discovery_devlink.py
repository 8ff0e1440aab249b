"""Devlink's answers, in the bytes that the kernel sends (include/uapi/linux/devlink.h)."""

from struct import pack
from typing import Final

import pytest

from rbln_worker.host.netlink import codec, devlink
from rbln_worker.host.netlink.devlink import (
    ESWITCH_GET,
    INFO_GET,
    PARAM_GET,
    Devlink,
    KernelDevlink,
)

BUS_NAME: Final = 1
DEV_NAME: Final = 2
ESWITCH_MODE: Final = 25
PARAM: Final = 80
PARAM_NAME: Final = 81
PARAM_TYPE: Final = 83
PARAM_VALUES_LIST: Final = 84
PARAM_VALUE: Final = 85
PARAM_VALUE_DATA: Final = 86
PARAM_VALUE_CMODE: Final = 87
INFO_VERSION_RUNNING: Final = 101
INFO_VERSION_NAME: Final = 103
INFO_VERSION_VALUE: Final = 104
NESTED: Final = 0x8000


def attribute(kind: int, value: bytes) -> bytes:
    return pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def answer(device: str, *attributes: bytes) -> bytes:
    return text(BUS_NAME, "pci") + text(DEV_NAME, device) + b"".join(attributes)


class Said:
    """Answers to one command."""

    def __init__(self, command: int, *answers: bytes, of_all: bool = False) -> None:
        self._expected = (command, of_all)
        self._answers = answers

    def __call__(self, command: int, device: str) -> tuple[bytes, ...]:
        assert (command, not device) == self._expected
        return self._answers


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_the_mode_of_an_eswitch(mode: int) -> None:
    said = Said(ESWITCH_GET, answer("0000:03:00.0", attribute(ESWITCH_MODE, pack("H", mode))))
    assert Devlink(said).is_switchdev("0000:03:00.0") is (mode == 1)


def test_no_answer_is_no_switchdev() -> None:
    assert not Devlink(Said(ESWITCH_GET)).is_switchdev("0000:03:00.0")


def param(name: str, *values: bool) -> bytes:
    listed = b"".join(
        attribute(
            PARAM_VALUE | NESTED,
            attribute(PARAM_VALUE_CMODE, b"\1") + (attribute(PARAM_VALUE_DATA, b"") if on else b""),
        )
        for on in values
    )
    return attribute(
        PARAM | NESTED,
        text(PARAM_NAME, name)
        + attribute(PARAM_TYPE, b"\6")
        + attribute(PARAM_VALUES_LIST | NESTED, listed),
    )


def test_who_may_have_rdma_devices() -> None:
    said = Said(
        PARAM_GET,
        answer("0000:03:00.2", param("enable_rdma", True)),
        answer("0000:03:00.3", param("enable_rdma", False)),
        answer("0000:03:00.3", param("enable_eth", True)),
        answer("0000:03:00.4", param("enable_rdma", False, True)),
        answer("mlx5_core.sf.4", param("enable_rdma", True)),
        answer("0000:03:00.5"),
        of_all=True,
    )
    assert Devlink(said).rdma_enabled() == {"0000:03:00.2", "0000:03:00.4", "mlx5_core.sf.4"}


def version(name: str, value: str) -> bytes:
    both = text(INFO_VERSION_NAME, name) + text(INFO_VERSION_VALUE, value)
    return attribute(INFO_VERSION_RUNNING | NESTED, both)


def test_the_name_of_what_is_loaded() -> None:
    said = Said(
        INFO_GET,
        answer(
            "0000:5e:00.0",
            version("fw.mgmt", "7.2"),
            version("fw.app.name", "ICE COMMS Package"),
            version("fw.app", "1.3.40.0"),
        ),
    )
    assert Devlink(said).running_version("0000:5e:00.0", "fw.app.name") == "ICE COMMS Package"
    assert Devlink(said).running_version("0000:5e:00.0", "fw.undi") == ""


def test_what_is_cut_off_is_unknown() -> None:
    name, mode = version("fw.app.name", "ICE"), attribute(ESWITCH_MODE, pack("H", 1))
    device = "0000:5e:00.0"
    assert (
        Devlink(Said(INFO_GET, answer(device, name)[:-5])).running_version(device, "fw.app.name")
        == ""
    )
    assert not Devlink(Said(ESWITCH_GET, answer(device, mode)[:-3])).is_switchdev(device)
    on = Said(PARAM_GET, answer(device, param("enable_rdma", True))[:-1], of_all=True)
    assert Devlink(on).rdma_enabled() == frozenset()


def test_the_kernel_numbers_its_families() -> None:
    with codec.open_socket(devlink.NETLINK_GENERIC) as asked:
        assert devlink.family_number(asked, "nlctrl") == 16  # GENL_ID_CTRL, the one that is fixed
        with pytest.raises(OSError, match="No such file"):
            devlink.family_number(asked, "nobody")


def test_a_device_that_does_not_exist_says_nothing() -> None:
    """Asked of the kernel, whether it has devlink or not."""
    kernel = Devlink(KernelDevlink())
    for _ in range(2):
        assert not kernel.is_switchdev("ffff:ff:1f.7")
        assert kernel.running_version("ffff:ff:1f.7", "fw.app.name") == ""
    assert "ffff:ff:1f.7" not in kernel.rdma_enabled()
