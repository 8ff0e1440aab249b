"""Runs a command to which the kernel refuses a system call.

``python -m tests.sim.seccomp capset COMMAND …``
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Final

NUMBERS: Final = {
    "x86_64": {"capset": 126},
    "aarch64": {"capset": 91},
}
"""Of system calls, by machine."""
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERRNO_EPERM: Final = 0x0005_0001
_ALLOW: Final = 0x7FFF_0000


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_: ClassVar[Sequence[tuple[str, type[Any]] | tuple[str, type[Any], int]]] = (
        ("length", ctypes.c_ushort),
        ("filter", ctypes.c_char_p),
    )


def refuse(call: str) -> None:
    """Let this system call fail with EPERM, here and in all that this process starts."""
    number = NUMBERS[platform.machine()][call]
    steps = (
        (_LOAD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 1, number),
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
