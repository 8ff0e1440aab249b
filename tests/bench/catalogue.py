"""The figures' names in the order of the table, and what each is in words."""

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, str]] = {
    "start": "start → all pools listed",
    "stop": "SIGTERM → all processes ended",
    "allocate": "Allocate of 2 devices",
    "allocate-floor": "… of an empty grpc.aio server with the same answer",
    "prefer": "GetPreferredAllocation of 4 devices of a pool",
    "driver-gone": "driver gone (a kernel uevent) → message",
    "driver-back": "driver back → message, 50 ms of it probation",
    "npu-gone": "an NPU's driver and node gone, and a kernel uevent → message",
    "rescan-gone": "rescan after a driver went → message",
    "rescan-back": "rescan after it came back → message, 50 ms of it probation",
    "kubelet": "kubelet restart → all pools listed",
    "worker": "worker killed → all pools listed",
    "supervisor": "supervisor killed, started → workers adopted, ready",
    "supervisor-messages": "… messages to the kubelet, all times together",
    "rss": "memory: RSS of all processes",
    "frames": "memory: all processes, each page once",
    "pss": "memory: PSS of all processes, beside the bench's own",
    "worker-private": "memory: private pages of a worker",
    "supervisor-pss": "memory: PSS of the supervisor",
    "idle": "idle CPU of all processes",
    "link-lost": "link lost → message, its 8 VFs in one",
    "link-back": "link back → message, 50 ms of it probation",
}
OTHERWISE: Final[Mapping[str, str]] = {
    "worker": "the process that serves a pool killed → all pools listed",
}
"""Where two plugins are measured."""
