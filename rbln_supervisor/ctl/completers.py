"""Completions of pool and device names, from the supervisor."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rbln_supervisor.core.control.protocol import Status, StatusReply
from rbln_supervisor.ctl.command import RUN_DIR, CommandError

_TIMEOUT_S: Final = 1.0
"""A person waits for it with a line half typed (seconds)."""


def complete_with(action: argparse.Action, completer: Callable[..., list[str]]) -> None:
    """Set the completer of an argument; argcomplete calls it with its own keyword arguments."""
    vars(action)["completer"] = completer


def pool_names(*, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the names of all pools; none if no supervisor replies."""
    return list(_pool_devices(parsed_args))


def device_names(*, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return the IDs of all devices that pools list; none if no supervisor replies."""
    return [device for devices in _pool_devices(parsed_args).values() for device in devices]


def _pool_devices(options: argparse.Namespace) -> Mapping[str, Iterable[str]]:
    """Return the devices of each pool."""
    from rbln_supervisor.ctl import client  # noqa: PLC0415 - ZeroMQ, which a parser needs not

    run_dir = getattr(options, "run_dir", RUN_DIR)
    try:
        reply = client.request_reply(run_dir, Status(), StatusReply, timeout_s=_TIMEOUT_S)
    except CommandError:  # no errors into the shell where a person types
        return {}
    return {name: pool.devices for name, pool in reply.status.pools.items()}
