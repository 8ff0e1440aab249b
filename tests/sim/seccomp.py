"""Runs a command to which the kernel refuses a system call.

``python -m tests.sim.seccomp capset COMMAND …``, or ``socket:16``: with this first argument only
(AF_NETLINK).
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Final

NUMBERS: Final = {
    "x86_64": {"capset": 126, "socket": 41},
    "aarch64": {"capset": 91, "socket": 198},
}
"""Of system calls, by machine."""
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_FIRST_ARGUMENT: Final = 16
"""Where its lower half lies in struct seccomp_data, on machines that have it first."""
_ERRNO_EPERM: Final = 0x0005_0001
_ALLOW: Final = 0x7FFF_0000


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_: ClassVar[Sequence[tuple[str, type[Any]] | tuple[str, type[Any], int]]] = (
        ("length", ctypes.c_ushort),
        ("filter", ctypes.c_char_p),
    )


def refuse(call: str) -> None:
    """Let this system call fail with EPERM, here and in all that this process starts."""
    name, _, first = call.partition(":")
    number = NUMBERS[platform.machine()][name]
    only = ((_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_EQUAL, 0, 1, int(first))) if first else ()
    steps = (
        (_LOAD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 1 + len(only), number),
        *only,
        (_RETURN, 0, 0, _ERRNO_EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")


if __name__ == "__main__":
    refuse(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
