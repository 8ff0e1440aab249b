"""The loop: waits for events, handles them, and acts on them. It never waits for a worker."""

import logging
import math
import os
import secrets
import signal
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
import zmq

from rbln_supervisor import signals
from rbln_supervisor.config.accepted import StartConfig
from rbln_supervisor.config.reload import ConfigReloader
from rbln_supervisor.core.control import queries
from rbln_supervisor.core.control.protocol import (
    LEAVING,
    DryRun,
    ErrorReply,
    Explain,
    Metrics,
    MetricsReply,
    Reload,
    Reply,
    Request,
    Rescan,
    Status,
    StatusReply,
    Upgrade,
    UpgradeReply,
    encode,
    to_request,
)
from rbln_supervisor.core.pod_devices import holder_changes
from rbln_supervisor.core.reporting import pool_summary
from rbln_supervisor.core.reporting.systemd import ServiceState
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.core.workers.lifecycle import DeadlinePassed
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
from rbln_supervisor.workers.pool_worker import PoolWorker
from rbln_supervisor.workers.pools import Pools
from rbln_supervisor.workers.router import Router
from rbln_worker.contract.messages import Hello, UnreadableFrame, to_supervisor
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.version import VERSION
from rbln_worker.spec import WorkerSpec

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
        self._options = options
        self._hub = hub
        self._control = control
        self._notifier = notifier
        self._hangups = 0
        self._session = secrets.token_hex(8)
        self._started_at = monotonic()
        self._leaving = False
        self._upgrade = UpgradeCheck()
        self.is_upgrading = False
        """True if the process has to become the installed program."""
        self._event_log = EventLog(options.run_dir)
        self._event_log.record_event(
            "supervisor", "started", why=f"version {VERSION}, pid {os.getpid()}"
        )
        self._pools = Pools(options, start.config, self._new_worker)
        self._scheduler = DiscoveryScheduler(
            options,
            self._pools,
            ConfigReloader(options, self._pools, start, self._event_log),
            self._send_reply,
        )
        self._pod_watch = PodWatch(options.kubelet_dirs)
        # Before the first discovery, so that no event between it and the sockets is missed.
        self._kernel = KernelEventListener(
            self._pools, self._scheduler.discover_functions, lambda: self._scheduler.cost_s
        )
        self._kubelet = KubeletSocketWatch(
            options.kubelet_dirs.device_plugins,
            lambda what, why: self._event_log.record_event("kubelet", what, why=why),
        )
        self._parts = SupervisorParts(
            pools=self._pools,
            scheduler=self._scheduler,
            kernel=self._kernel,
            kubelet=self._kubelet,
            pod_watch=self._pod_watch,
            hub=hub,
            control=control,
            notifier=notifier,
            event_log=self._event_log,
        )

    def run(self) -> int:
        """Serve until a signal ends it; return the exit code."""
        with signals.signal_socket() as signalled:
            self._pools.adopt_orphans()
            while True:
                ended = self._wait_for_events(signalled.fileno())
                for number in signals.received_signals(signalled):
                    self._handle_signal(number)
                for reap in ended:
                    reap()
                self._read_workers()
                self._answer_requests()
                self._kernel.read_events()
                self._kubelet.process_events()
                self._run_due()
                if self.is_upgrading:
                    self._end_for_upgrade()
                    return 0
                if self._leaving and all(one.has_ended for one in self._pools.workers.values()):
                    return 0

    def _end_for_upgrade(self) -> None:
        """Close everything except the workers, before this process becomes another program."""
        log.info("becoming the installed program")
        self._event_log.record_event("supervisor", "upgrades", why=f"from version {VERSION}")
        self._event_log.write_pending()
        self._scheduler.stop_discoveries()
        self._pod_watch.stop_process()
        self._control.close(UPGRADE_LINGER_MS)

    def _wait_for_events(self, signalled: int) -> list[Callable[[], None]]:
        """Wait for any event; return the functions to call for the workers that have ended."""
        poller = zmq.Poller()
        for router in (self._hub, self._control):
            poller.register(router.socket, zmq.POLLIN)
        poller.register(signalled, zmq.POLLIN)
        workers = self._pools.workers.values()
        lives = {fd: reap for worker in workers for fd, reap in worker.pidfds.items()}
        watched = (
            *(self._scheduler, self._kernel, self._kubelet, self._pod_watch),
            self._upgrade,
        )
        for descriptor in (*lives, *(fd for one in watched for fd in one.descriptors)):
            poller.register(descriptor, zmq.POLLIN)
        deadlines = [one for worker in workers for one in worker.deadlines]
        deadlines += (self._notifier.next_deadline, self._upgrade.next_deadline)
        if not self._leaving:
            deadlines.append(self._scheduler.next_deadline)
            deadlines.append(self._pod_watch.next_deadline)
            if self._kernel.next_deadline is not None:
                deadlines.append(self._kernel.next_deadline)
        wait_s = min(deadlines, default=math.inf) - monotonic()
        woken = poller.poll(math.ceil(1000 * min(max(wait_s, 0.0), MAX_WAIT_S)))
        return [lives[source] for source, _ in woken if source in lives]

    def _handle_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._hangups += 1
            self._scheduler.request_reload(None)
            self._notifier.send_due(self._service_state, at_once=True)
            return
        log.info("leaving", extra={"why": number.name})
        if not self._leaving:
            self._event_log.record_event("supervisor", "leaves", why=number.name)
        self._leaving = True
        if (requester := self._upgrade.stop_check()) is not None:
            self._send_reply(requester, LEAVING)
        self._scheduler.stop_discoveries()
        self._pod_watch.stop_process()
        self._pools.drain_all()
        self._notifier.send_due(self._service_state, at_once=True)

    def _read_workers(self) -> None:
        for sender, payload in self._hub.receive():
            try:
                message = to_supervisor(payload)
            except UnreadableFrame:
                self._hub.dropped[CounterName.WORKER_FRAMES_UNREADABLE] += 1
                continue
            worker = self._worker_of(sender, message if isinstance(message, Hello) else None)
            if worker is None and self._is_replaced(sender):
                continue
            if worker is None:
                self._hub.dropped[CounterName.WORKER_FRAMES_UNKNOWN] += 1
            else:
                worker.on_message(sender, message)

    def _worker_of(self, sender: bytes, hello: Hello | None) -> PoolWorker | None:
        for worker in self._pools.workers.values():
            if hello is None:
                if worker.identity == sender:
                    return worker
            elif worker.matches_hello(hello):
                return worker
        return None

    def _is_replaced(self, sender: bytes) -> bool:
        return any(
            worker.predecessor is not None and worker.predecessor.identity == sender
            for worker in self._pools.workers.values()
        )

    def _answer_requests(self) -> None:
        for sender, payload in self._control.receive():
            try:
                request = to_request(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._control.dropped[CounterName.CONTROL_FRAMES_UNREADABLE] += 1
                reply: Reply | None = ErrorReply((f"that is no request: {error}"[:300],))
            else:
                reply = self._handle_request(sender, request)
            if reply is not None:
                self._send_reply(sender, reply)

    def _send_reply(self, requester: bytes, reply: Reply) -> None:
        if not self._control.send(requester, encode(reply)):
            self._control.dropped[CounterName.REPLIES_UNDELIVERED] += 1

    def _handle_request(self, requester: bytes, request: Request) -> Reply | None:
        """Return the reply; None: it follows after a discovery or a check."""
        match request:
            case Status():
                return StatusReply(status_builder.node_status(self._parts, self._supervisor_state))
            case Metrics():
                return MetricsReply(
                    status_builder.supervisor_metrics(self._parts, self._supervisor_state)
                )
            case DryRun():
                return self._scheduler.request_dry_run(requester, request)
            case Explain(device=name):
                pools = self._pools
                now = monotonic()
                return queries.explain_reply(
                    *(name, pools.config, pools.node, pools.desired_states),
                    lambda pool: status_builder.device_health(self._parts, pool, now),
                    pools.link_table.names_by_altname,
                )
            case Reload(force=force):
                return self._scheduler.request_reload(requester, force=force)
            case Rescan():
                return self._scheduler.request_rescan(requester)
            case Upgrade():
                return self._begin_upgrade(requester)

    def _begin_upgrade(self, requester: bytes) -> Reply | None:
        if self._leaving:
            return LEAVING
        return self._upgrade.start_check(requester)

    def _run_due(self) -> None:
        for router in (self._hub, self._control):
            router.ensure_bound()
        if outcome := self._upgrade.poll_outcome(monotonic()):
            self._send_reply(outcome.requester, outcome.reply)
            self.is_upgrading = not self._leaving and isinstance(outcome.reply, UpgradeReply)
        self._kernel.handle_due()
        self._apply_pod_devices()
        self._scheduler.advance_discoveries()
        now = monotonic()
        for worker in self._pools.workers.values():
            if worker.child.deadline is not None and now >= worker.child.deadline:
                worker.apply_event(DeadlinePassed())
            worker.advance_predecessor(now)
        if not self._leaving:
            self._pools.apply_deferred()
        for worker in self._pools.workers.values():
            worker.sync_state(self._hub)
            worker.update_counters(now)
        self._pools.drop_removed()
        self._record_states(now)
        self._notifier.send_due(self._service_state)

    def _apply_pod_devices(self) -> None:
        changed = self._pod_watch.poll_process(monotonic())
        if changed and (known := self._pod_watch.current) is not None:
            before = self._pools.pod_devices.devices if self._pools.pod_devices else ()
            ours = {pool.spec.name for pool in self._pools.config.pools}
            happened = [
                one for one in holder_changes(before, known.devices) if one.device.resource in ours
            ]
            self._event_log.record_pods(happened, known.source)
            self._pools.apply_pod_devices(known)

    def _record_states(self, now: float) -> None:
        if not self._leaving:
            # While a pool is adopted, its state has not changed: it is only not known yet.
            self._event_log.record_states(
                {
                    name: pool_summary.reported_state(worker.take_snapshot(now))
                    for name, worker in self._pools.workers.items()
                    if worker.configured and worker.desired and not worker.is_adopting
                }
            )
        self._event_log.write_pending()

    def _new_worker(self, pool: PoolName) -> PoolWorker:
        options = self._options
        spec = WorkerSpec(
            pool=pool,
            incarnation="",
            run_dir=options.run_dir,
            root=options.host_root,
            kubelet_dirs=options.kubelet_dirs,
            registration=options.registration,
            host_visible=options.host_visible,
            cdi=options.cdi,
            pre_start=options.pre_start_check,
            memory_most=options.worker_memory_max,
            log_level=options.log_level,
            log_format=options.log_format,
        )
        return PoolWorker(spec, self._session, self._event_log)

    def _service_state(self) -> ServiceState:
        return status_builder.service_state(self._parts, self._supervisor_state)

    @property
    def _supervisor_state(self) -> SupervisorState:
        now = monotonic()
        return SupervisorState(now, now - self._started_at, self._leaving, self._hangups)
