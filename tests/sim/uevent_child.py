"""Sends what it reads to the kernel as uevents; run by uevents.py, imports next to nothing.

A batch on standard input is a count and so many frames, each behind its length; the answer is
a line: "injected", or why not.
"""

import socket
import struct
import sys

NETLINK_KOBJECT_UEVENT = 15
TYPE = 16  # of any message that is not netlink's own
REQUEST = 1


def number() -> int:
    """The next number; the process ends where there is none."""
    got = sys.stdin.buffer.read(4)
    if len(got) < 4:
        raise SystemExit(0)
    return int.from_bytes(got, sys.byteorder)


def main() -> None:
    """Until standard input ends."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
    while True:
        frames = [sys.stdin.buffer.read(number()) for _ in range(number())]
        for frame in frames:
            header = struct.pack("=IHHII", 16 + len(frame), TYPE, REQUEST, 0, 0)
            kernel.sendto(header + frame, (0, 0))
        answer = "injected"
        try:  # the kernel has answered before sendto returned, and only where it refused
            refusal = kernel.recv(256, socket.MSG_DONTWAIT)
            answer = f"refused, errno {-struct.unpack_from('=i', refusal, 16)[0]}"
        except BlockingIOError:
            pass
        print(answer, flush=True)


main()
