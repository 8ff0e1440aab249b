"""The exporter's pages, each made of one request to the supervisor with a deadline."""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client.registry import Collector

from rbln_supervisor.core.control import protocol
from rbln_supervisor.ctl.client import request_reply
from rbln_supervisor.ctl.command import CommandError
from rbln_supervisor.exporter.families import Family, Page, fill_page
from rbln_supervisor.exporter.processes import fill_processes

TIMEOUT_S: Final = 2.0
"""Seconds: a supervisor replies within one loop iteration, some milliseconds."""

log = logging.getLogger(__name__)

_Expected = TypeVar("_Expected", bound=protocol.Reply)


class Pages(Collector):
    """The pages about one supervisor. Used by several threads at once."""

    def __init__(self, run_dir: Path, *, device_series: bool) -> None:
        """``device_series``: True: also series of each device."""
        self._run_dir = run_dir
        self._device_series = device_series
        self._down = ""
        """Reason why it did not reply the last time."""

    def collect(self) -> Iterable[Family]:
        """Return the metrics; without a supervisor ``rbln_up`` is 0."""
        page = Page()
        reply = self._request_reply(protocol.Metrics(), protocol.MetricsReply)
        measures = None if isinstance(reply, str) else reply.measures
        page.add_sample("rbln_up", measures is not None)
        if measures is not None:
            fill_page(page, measures, device_series=self._device_series)
        fill_processes(page, self._run_dir, measures.status if measures else None)
        return page.collect()

    def answer_probe(self, *, until_ready: bool) -> tuple[HTTPStatus, tuple[str, ...]]:
        """Return 200 if the supervisor answers, and, with ``until_ready``, if the node is ready."""
        reply = self._request_reply(protocol.Status(), protocol.StatusReply)
        if isinstance(reply, str):
            return HTTPStatus.SERVICE_UNAVAILABLE, (reply,)
        if until_ready and (reasons := reply.status.unready_reasons):
            return HTTPStatus.SERVICE_UNAVAILABLE, reasons
        return HTTPStatus.OK, ("ok",)

    def _request_reply(
        self, request: protocol.Request, expected: type[_Expected]
    ) -> _Expected | str:
        """Return the reply, or the reason why there is none."""
        down = ""
        reply: _Expected | str
        try:
            reply = request_reply(self._run_dir, request, expected, timeout_s=TIMEOUT_S)
        except CommandError as error:
            reply = down = "; ".join(error.lines)
        before, self._down = self._down, down
        if down and not before:
            log.warning("the supervisor does not answer", extra={"why": down})
        elif before and not down:
            log.info("the supervisor answers")
        return reply
