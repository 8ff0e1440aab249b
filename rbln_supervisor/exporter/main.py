"""The command line of rbln-exporter: serves until a signal."""

import argparse
import errno
import logging
import os
import signal
import threading
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from rbln_supervisor.client_options import client_parser
from rbln_supervisor.exporter.web import Pages, Server
from rbln_worker.contract.exits import Exit
from rbln_worker.process import log

LISTEN: Final = "127.0.0.1:9420"
LISTEN_VARIABLE: Final = "RBLN_EXPORTER_LISTEN"
RETRY_INTERVAL_S: Final = 0.5
"""Seconds between two attempts to listen on an address that is in use; the kernel has no event for
its release."""

_log = logging.getLogger(__name__)


class Address(NamedTuple):
    """Address and port to listen on."""

    host: str
    port: int


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return 0 then, 1 if it can never listen, 2 for wrong usage."""
    options = _build_parser().parse_args(argv)
    log.setup_log("exporter", logging.INFO, options.log_format)
    # Before the first thread: all threads leave the signals to sigwait.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    pages = Pages(options.run_dir, device_series=not options.no_device_series)
    address: Address = options.listen
    try:
        server = _wait_to_listen(address, pages, ends)
    except (OSError, OverflowError) as error:
        place = f"{address.host} port {address.port}"
        _log.critical(f"can't listen on {place} ({error}): give --listen another address")
        return Exit.UNUSABLE
    if server is None:
        return Exit.DRAINED
    serving = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    serving.start()
    _log.info("serving", extra={"host": address.host, "port": server.server_port})
    _log.info("leaving", extra={"why": signal.Signals(signal.sigwait(ends)).name})
    server.shutdown()
    server.server_close()
    return Exit.DRAINED


def _wait_to_listen(
    address: Address, pages: Pages, ends: Collection[signal.Signals]
) -> Server | None:
    """Listen as soon as the address is free; return None if a signal came first.

    In an update two pods are on the node's network, and the earlier one's exporter has the port
    until its pod has ended.

    Raises:
        OSError, OverflowError: The address can never be used: it is not one of this machine, for
            example.
    """
    waiting = False
    while True:
        try:
            return Server(address.host, address.port, pages)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        if not waiting:
            extra = {"host": address.host, "port": address.port}
            _log.warning("the address is in use: waiting until it is free", extra=extra)
            waiting = True
        if received := signal.sigtimedwait(ends, RETRY_INTERVAL_S):
            _log.info("leaving", extra={"why": signal.Signals(received.si_signo).name})
            return None


_MORE: Final = """\
exit codes:
  0  a signal ended it (SIGTERM, SIGINT)
  1  it can never listen there; an address that is in use is waited for
  2  wrong usage

examples:
  rbln-exporter --listen [::]:9420 --no-device-series
  curl -s http://127.0.0.1:9420/readyz
"""


def _build_parser() -> argparse.ArgumentParser:
    parser = client_parser(
        "rbln-exporter",
        "Prometheus metrics and probes of the Rebellions device plugin on this node: "
        "/metrics, /healthz (the supervisor answers), /readyz (pools are registered).",
        _MORE,
    )
    parser.add_argument(
        "--listen",
        type=_parse_address,
        default=os.environ.get(LISTEN_VARIABLE, LISTEN),
        metavar="ADDRESS:PORT",
        help=f"where to serve; [::]:9420 is every address ({LISTEN_VARIABLE}, or {LISTEN})",
    )
    parser.add_argument(
        "--no-device-series",
        action="store_true",
        help="leave out rbln_device_healthy, which has a series for each device",
    )
    return parser


def _parse_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""  # an IPv6 address without brackets: its last part is no port
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(
            f"expected an address and a port, such as {LISTEN} or [::]:9420, got {text!r}"
        )
    return Address(host, int(port))
