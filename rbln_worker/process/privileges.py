"""Privileges of a process: dropped for good, before it does anything else.

Privileges belong to a thread (capabilities(7)), so this requires a process with one thread.
"""

import ctypes
import errno
import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar, Final

from rbln_worker.contract.errors import RblnError

_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_VERSION_3: Final = 0x20080522
"""linux/capability.h: 64 bits, as two structures of 32."""


class Capability(IntEnum):
    """The capabilities that the plugin uses (linux/capability.h)."""

    DAC_OVERRIDE = 1
    """Access to files of other users."""
    SETPCAP = 8
    """Removal of capabilities from the bounding set."""
    NET_ADMIN = 12
    SYS_ADMIN = 21


class PrivilegeError(RblnError):
    """The kernel refused to drop a privilege; the text has the call and the error."""


Fields = Sequence[tuple[str, type[Any]] | tuple[str, type[Any], int]]


class _Header(ctypes.Structure):
    _fields_: ClassVar[Fields] = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_: ClassVar[Fields] = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def keep_only(*kept: Capability) -> None:
    """Keep these capabilities, as far as the process has them, and never gain others.

    If the process must not narrow its bounding set (without CAP_SETPCAP: an ordinary user, most
    containers), the set stays: with no_new_privs it has no effect any more (prctl(2)).

    Raises:
        PrivilegeError: A privilege could not be dropped; the caller must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = sum(1 << capability for capability in kept)
    header, halves = _Header(_VERSION_3, 0), (_CapData * 2)()
    _call_prctl(libc, "PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)
    if libc.capget(ctypes.byref(header), halves):
        raise _kernel_error("capget")
    if halves[0].effective >> Capability.SETPCAP & 1:
        _narrow_bounding(libc, wanted)
    # A kernel before 4.3 has no such set.
    ambient = (_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _call_prctl(libc, "PR_CAP_AMBIENT", *ambient, accepted=errno.EINVAL)
    is_changed = False
    for half, bits in zip(halves, (wanted & 0xFFFFFFFF, wanted >> 32), strict=True):
        is_changed |= bool(half.permitted & ~bits or half.inheritable)
        half.effective &= bits
        half.permitted &= bits
        half.inheritable = 0
    # Without a change no call: a seccomp filter may refuse it (systemd's @privileged).
    if is_changed and libc.capset(ctypes.byref(header), halves):
        raise _kernel_error("capset")


def _narrow_bounding(libc: ctypes.CDLL, wanted: int) -> None:
    for number in range(64):
        inside = _prctl(libc, _PR_CAPBSET_READ, number)
        if inside < 0:  # EINVAL: there are no further capabilities
            return
        if inside and not wanted >> number & 1:
            _call_prctl(libc, f"PR_CAPBSET_DROP {number}", _PR_CAPBSET_DROP, number)


def _call_prctl(
    libc: ctypes.CDLL, name: str, option: int, argument: int, *, accepted: int = 0
) -> None:
    if _prctl(libc, option, argument) and ctypes.get_errno() != accepted:
        raise _kernel_error(name)


def _prctl(libc: ctypes.CDLL, option: int, argument: int) -> int:
    zero = ctypes.c_ulong(0)
    return int(libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def _kernel_error(name: str) -> PrivilegeError:
    return PrivilegeError(f"{name}: {os.strerror(ctypes.get_errno())}")
