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
        NotGivenUp: A privilege could not be dropped; the caller must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = sum(1 << capability for capability in kept)
    _call_prctl(libc, "PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)
    held, permitted, inheritable = _current_sets(libc)
    if held >> Capability.SETPCAP & 1:
        _narrow_bounding(libc, wanted)
    try:
        _call_prctl(libc, "PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 4.3 has no such set
            raise PrivilegeError(str(error)) from error
    if not (permitted & ~wanted or inheritable):
        return  # and a seccomp filter may refuse capset (systemd's @privileged)
    data = (_CapData * 2)(
        *(_half_of(held & wanted, permitted & wanted, shift) for shift in (0, 32))
    )
    if libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data):
        raise PrivilegeError(f"capset: {os.strerror(ctypes.get_errno())}")


def _half_of(effective: int, permitted: int, shift: int) -> _CapData:
    low = 0xFFFFFFFF
    return _CapData(effective >> shift & low, permitted >> shift & low, 0)


def _current_sets(libc: ctypes.CDLL) -> tuple[int, int, int]:
    """Return the effective, the permitted and the inheritable set."""
    data = (_CapData * 2)()
    if libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), data):
        raise PrivilegeError(f"capget: {os.strerror(ctypes.get_errno())}")
    return (
        data[0].effective | data[1].effective << 32,
        data[0].permitted | data[1].permitted << 32,
        data[0].inheritable | data[1].inheritable << 32,
    )


def _narrow_bounding(libc: ctypes.CDLL, wanted: int) -> None:
    for number in range(64):
        inside = libc.prctl(_PR_CAPBSET_READ, ctypes.c_ulong(number), *_zero_arguments(3))
        if inside < 0:  # EINVAL: there are no further capabilities
            return
        if inside and not wanted >> number & 1:
            try:
                _call_prctl(libc, f"PR_CAPBSET_DROP {number}", _PR_CAPBSET_DROP, number)
            except OSError as error:
                raise PrivilegeError(str(error)) from error


def _call_prctl(libc: ctypes.CDLL, name: str, option: int, argument: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(argument), *_zero_arguments(3)):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _zero_arguments(count: int) -> tuple[ctypes.c_ulong, ...]:
    return tuple(ctypes.c_ulong(0) for _ in range(count))
