"""The loop: waits for events, handles them, and acts on them. It never waits for a worker."""

import logging
import math
import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
import zmq

from rbln_supervisor import signals
from rbln_supervisor.config.accepted import StartConfig
from rbln_supervisor.config.reload import ConfigReloader
from rbln_supervisor.core.control import protocol, queries
from rbln_supervisor.core.control.protocol import Reply, Request
from rbln_supervisor.core.reporting import pool_summary
from rbln_supervisor.core.reporting.systemd import ServiceState
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.core.step.discovery_step import DiscoveryRequested, HangupReceived
from rbln_supervisor.core.workers.pool_step import is_from_worker
from rbln_supervisor.core.workers.worker_events import DeadlinePassed, MessageReceived, NotNeeded
from rbln_supervisor.discovery.kernel_events import KernelEventListener
from rbln_supervisor.discovery.scheduler import DiscoveryScheduler
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.options import Options
from rbln_supervisor.pod_devices.watch import PodWatch
from rbln_supervisor.reporting import status_builder
from rbln_supervisor.reporting.kubelet_watch import KubeletSocketWatch
from rbln_supervisor.reporting.status_builder import SupervisorParts, SupervisorState
from rbln_supervisor.reporting.systemd import SystemdNotifier
from rbln_supervisor.upgrade import UpgradeCheck
from rbln_supervisor.workers.pools import Pools
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.messages import FrameError, to_supervisor
from rbln_worker.contract.version import VERSION

MAX_WAIT_S: Final = 60.0
UPGRADE_LINGER_MS: Final = 500
"""Time for the last replies, before the process becomes another program (milliseconds)."""

log = logging.getLogger(__name__)


class Supervisor:
    """One run of rbln-supervisor, from its first discovery to the end of its last worker."""

    def __init__(
        self,
        options: Options,
        start: StartConfig,
        hub: Router,
        control: Router,
        notifier: SystemdNotifier,
    ) -> None:
        self._hangups = 0
        self._started_at = monotonic()
        self._leaving = False
        self.upgrade = UpgradeCheck(self._send_reply)
        event_log = EventLog(options.run_dir)
        event_log.record_event("supervisor", "started", why=f"version {VERSION}, pid {os.getpid()}")
        pools = Pools(options, start.config, event_log)
        reloader = ConfigReloader(options, pools, start, event_log)
        scheduler = DiscoveryScheduler(options, pools, reloader, self._send_reply)
        self._parts = SupervisorParts(
            pools=pools,
            scheduler=scheduler,
            # Before the first discovery, so that no event between it and the sockets is missed.
            kernel=KernelEventListener(
                pools, scheduler.discover_functions, lambda: scheduler.process.cost_s
            ),
            kubelet=KubeletSocketWatch(
                options.kubelet_dirs.device_plugins,
                lambda what, why: event_log.record_event("kubelet", what, why=why),
            ),
            pod_watch=PodWatch(options.kubelet_dirs),
            hub=hub,
            control=control,
            notifier=notifier,
            event_log=event_log,
        )

    def run(self) -> int:
        """Serve until a signal ends it; return the exit code."""
        signalled = signals.signal_socket()
        self._parts.pools.adopt_orphans()
        while True:
            ended = self._wait_for_events(signalled.fileno())
            for number in signals.received_signals(signalled):
                self._handle_signal(number)
            for reap in ended:
                reap()
            self._read_workers()
            self._answer_requests()
            self._parts.kernel.read_events()
            self._parts.kubelet.process_events()
            self._run_due()
            if self.upgrade.is_ready:
                self._end_for_upgrade()
                return 0
            if self._leaving and all(
                one.pool.has_ended for one in self._parts.pools.workers.values()
            ):
                return 0

    def _end_for_upgrade(self) -> None:
        """Close everything except the workers, before this process becomes another program."""
        log.info("restarting as the installed version")
        self._parts.event_log.record_event("supervisor", "upgrades", why=f"from version {VERSION}")
        self._parts.event_log.write_pending()
        self._parts.scheduler.stop_discoveries()
        self._parts.pod_watch.stop_process()
        self._parts.control.close(UPGRADE_LINGER_MS)

    def _wait_for_events(self, signalled: int) -> list[Callable[[], None]]:
        """Wait for any event; return the functions to call for the workers that have ended."""
        poller, parts = zmq.Poller(), self._parts
        for router in (parts.hub, parts.control):
            poller.register(router.socket, zmq.POLLIN)
        poller.register(signalled, zmq.POLLIN)
        workers = parts.pools.workers.values()
        lives = {fd: reap for worker in workers for fd, reap in worker.pidfds.items()}
        timed = (parts.scheduler, parts.kernel, parts.pod_watch, self.upgrade)
        for source in (*timed, parts.kubelet):
            for descriptor in source.descriptors:
                poller.register(descriptor, zmq.POLLIN)
        for descriptor in lives:
            poller.register(descriptor, zmq.POLLIN)
        deadlines = [one for worker in workers for one in worker.pool.deadlines]
        deadlines.append(parts.notifier.next_deadline)
        waiting = (self.upgrade,) if self._leaving else timed
        deadlines += (one.next_deadline for one in waiting)
        wait_s = min(deadlines) - monotonic()
        woken = poller.poll(math.ceil(1000 * min(max(wait_s, 0.0), MAX_WAIT_S)))
        return [lives[source] for source, _ in woken if source in lives]

    def _handle_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._hangups += 1
            self._parts.scheduler.post(HangupReceived())
            self._parts.notifier.send_due(self._service_state, at_once=True)
            return
        log.info("leaving", extra={"why": number.name})
        if not self._leaving:
            self._parts.event_log.record_event("supervisor", "leaves", why=number.name)
        self._leaving = True
        self.upgrade.stop_check()
        self._parts.scheduler.stop_discoveries()
        self._parts.pod_watch.stop_process()
        for worker in self._parts.pools.workers.values():
            worker.apply_event(NotNeeded())
        self._parts.notifier.send_due(self._service_state, at_once=True)

    def _read_workers(self) -> None:
        for sender, payload in self._parts.hub.receive():
            try:
                message = to_supervisor(payload)
            except FrameError:
                self._parts.hub.dropped[CounterName.WORKER_FRAMES_UNREADABLE] += 1
                continue
            frame = MessageReceived(sender, message)
            workers = self._parts.pools.workers.values()
            worker = next((one for one in workers if is_from_worker(one.pool, frame)), None)
            if worker is not None:
                worker.apply_event(frame)
                if isinstance(message, WorkerCounters):
                    worker.counters.figures = message
            elif all(one.pool.predecessor_address != sender for one in workers):
                self._parts.hub.dropped[CounterName.WORKER_FRAMES_UNKNOWN] += 1

    def _answer_requests(self) -> None:
        for sender, payload in self._parts.control.receive():
            try:
                request = protocol.to_request(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._parts.control.dropped[CounterName.CONTROL_FRAMES_UNREADABLE] += 1
                reply: Reply | None = protocol.ErrorReply((f"that is no request: {error}"[:300],))
            else:
                reply = self._handle_request(sender, request)
            if reply is not None:
                self._send_reply(sender, reply)

    def _send_reply(self, requester: bytes, reply: Reply) -> None:
        if not self._parts.control.send(requester, protocol.encode(reply)):
            self._parts.control.dropped[CounterName.REPLIES_UNDELIVERED] += 1

    def _handle_request(self, requester: bytes, request: Request) -> Reply | None:
        """Return the reply; None: it follows after a discovery or a check."""
        parts, state = self._parts, self._supervisor_state
        match request:
            case protocol.Status():
                return protocol.StatusReply(status_builder.node_status(parts, state))
            case protocol.Metrics():
                return protocol.MetricsReply(status_builder.supervisor_metrics(parts, state))
            case protocol.Reload() | protocol.Rescan() | protocol.DryRun():
                parts.scheduler.post(DiscoveryRequested(request, requester))
                return None
            case protocol.Explain(device=name):
                pools = parts.pools
                return queries.explain_reply(
                    *(name, pools.config, pools.facts.inventory, pools.desired_states),
                    status_builder.pool_statuses(parts, state.now),
                    pools.facts.link_table.names_by_altname,
                )
            case protocol.Upgrade():
                self.upgrade.request_upgrade(requester)
                return None

    def _run_due(self) -> None:
        for router in (self._parts.hub, self._parts.control):
            router.ensure_bound()
        self.upgrade.poll_outcome(monotonic())
        if not self._leaving:
            self._parts.kernel.handle_due()
        self._apply_pod_devices()
        self._parts.scheduler.advance_discoveries()
        now = monotonic()
        for worker in self._parts.pools.workers.values():
            worker.apply_event(DeadlinePassed())
        if not self._leaving:
            self._parts.pools.apply_deferred()
        for worker in self._parts.pools.workers.values():
            worker.send_due(self._parts.hub)
            worker.update_counters(now)
        self._parts.pools.drop_removed()
        self._record_states(now)
        self._parts.notifier.send_due(self._service_state)

    def _apply_pod_devices(self) -> None:
        changed = self._parts.pod_watch.poll_process(monotonic())
        if changed and (known := self._parts.pod_watch.current) is not None:
            changes = self._parts.pools.apply_pod_devices(known)
            self._parts.event_log.record_pods(changes, known.source)

    def _record_states(self, now: float) -> None:
        if not self._leaving:
            # While a pool is adopted, its state has not changed: it is only not known yet.
            workers = self._parts.pools.workers.values()
            self._parts.event_log.record_states(
                {
                    one.pool.name: pool_summary.reported_state(one.take_snapshot(now))
                    for one in workers
                    if one.pool.configured and one.pool.desired and not one.pool.is_adopting
                }
            )
        self._parts.event_log.write_pending()

    def _service_state(self) -> ServiceState:
        return status_builder.service_state(self._parts, self._supervisor_state)

    @property
    def _supervisor_state(self) -> SupervisorState:
        now = monotonic()
        return SupervisorState(now, now - self._started_at, self._leaving, self._hangups)
