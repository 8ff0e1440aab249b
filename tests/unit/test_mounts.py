"""Which file system a path lies on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.doctor.mounts import covering_mount

HOST = """\
22 28 0:21 / /sys rw,relatime shared:7 - sysfs sysfs rw
24 28 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=8123452k
26 24 0:23 / /dev/pts rw - devpts devpts rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
"""
CONTAINER = """\
1 0 0:40 / / ro - overlay overlay rw
2 1 0:41 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
"""
MOUNTED = CONTAINER + "3 2 0:5 / /dev ro - devtmpfs udev rw\n"
SOME = CONTAINER + "3 2 0:5 /vfio /dev/vfio ro - devtmpfs udev rw\n"
ODD = "x\n1 2 3 4 /a - \n5 6 7 8 /with\\040space rw - tmpfs t rw\n9 9 9 9 /with rw - ext4 e rw\n"


@pytest.mark.parametrize(
    ("text", "path", "kind"),
    [
        (HOST, "/dev", "devtmpfs"),
        (HOST, "/dev/vfio", "devtmpfs"),
        (HOST, "/device", "ext4"),
        (CONTAINER, "/dev", "tmpfs"),
        (CONTAINER, "/host/dev", "overlay"),
        (MOUNTED, "/dev", "devtmpfs"),
        (SOME, "/dev", "tmpfs"),
        (ODD, "/with space/x", "tmpfs"),
        (ODD, "/with", "ext4"),
        (ODD, "/a", ""),
        ("", "/dev", ""),
    ],
)
def test_the_longest_and_latest_mount_counts(text: str, path: str, kind: str) -> None:
    assert covering_mount(text, path) == kind


@given(st.text())
def test_any_text(text: str) -> None:
    assert isinstance(covering_mount(text, "/dev"), str)
