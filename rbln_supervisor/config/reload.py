"""Reloads of the configuration: read, checked against devices in use, accepted or refused.

Pools that are the same in both configurations are not affected. A pool whose worker can't start is
in back-off, with the reason in the status, and the others are served.
"""

import logging
import math
from collections import Counter
from time import monotonic

from rbln_supervisor.config import accepted, config_file
from rbln_supervisor.config.accepted import StartConfig
from rbln_supervisor.config.watch import ConfigWatch
from rbln_supervisor.core.config import node_config
from rbln_supervisor.core.config.retry_timer import RetryTimer
from rbln_supervisor.core.control.protocol import ErrorReply, ReloadReply, Reply
from rbln_supervisor.core.discovery.result import DiscoveryResult
from rbln_supervisor.core.matching import in_use, plan
from rbln_supervisor.core.matching.plan import Changes
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.pod_resources import ResourceHolders
from rbln_worker.contract.problem import Code, Problem, make_problem

Tried = bytes | tuple[str, ...]
"""Result of reading the file: its bytes, or the errors that prevented it."""

log = logging.getLogger(__name__)


class ConfigReloader:
    """The configuration file, and the reloads from it."""

    def __init__(
        self, options: Options, pools: Pools, start: StartConfig, journal: EventLog
    ) -> None:
        self._options = options
        self._pools = pools
        self._event_log = journal
        self._last_read: Tried = start.read
        self._newest: node_config.NodeConfig | None = None
        self._refused: tuple[Problem, ...] = ()
        self._retry_timer = RetryTimer()
        watched = options.watch_config
        self._watch = ConfigWatch(options.config_file, monotonic()) if watched else None
        self.counts: Counter[CounterName] = Counter()
        self._former_note = start.former
        """Text for the configuration that is served since a start with an invalid file; empty
        otherwise."""
        if start.refused:
            self._refuse_reload((*start.refused, start.former))
        elif isinstance(start.read, bytes) and not start.config.invalid:
            accepted.save_config(options, start.read)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Reasons why the last reload was refused, and why changes may be missed."""
        unwatched = self._watch.problem if self._watch else None
        former = _refusals((self._former_note,)) if self._former_note else ()
        late = (make_problem(Code.INOTIFY_EXHAUSTED, unwatched),) if unwatched else ()
        return (*dict.fromkeys((*self._refused, *former)), *late)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_file`` has work."""
        return self._watch.descriptors if self._watch else ()

    @property
    def next_deadline(self) -> float:
        """Latest time of the next ``poll_file`` (monotonic seconds)."""
        return min(
            self._watch.next_deadline if self._watch else math.inf,
            self._retry_timer.retry_at,
        )

    def stop_watching(self) -> None:
        """Stop watching the file."""
        self._retry_timer = RetryTimer()
        if self._watch:
            self._watch.close()

    def read_config(self) -> node_config.NodeConfig | ErrorReply:
        """Read the file; return its configuration, or a refusal if it has any error."""
        self._retry_timer = RetryTimer()
        self._last_read = self._read_file()
        return self._parse_config(self._last_read)

    def poll_file(self, now: float) -> node_config.NodeConfig | None:
        """Return the configuration of a file that has changed, once; None also if it is invalid.

        Also return that of an unchanged file if its reload was refused because the kubelet did not
        answer which devices are in use, and it is time to try again.
        """
        changed = self._watch is not None and self._watch.process_events(now)
        again = now >= self._retry_timer.retry_at
        if not changed and not again:
            return None
        found = self._read_file()
        if found != self._last_read:
            self._retry_timer = RetryTimer()
            log.info("the configuration file has changed")
        elif again:
            self._retry_timer = self._retry_timer.while_trying()
        else:
            return None
        self._last_read = found
        wanted = self._parse_config(found)
        return None if isinstance(wanted, ErrorReply) else wanted

    def activate(
        self, wanted: node_config.NodeConfig, discovery: DiscoveryResult, *, force: bool
    ) -> Reply:
        """Activate a configuration, or refuse it; the caller applies the discovery's result next.

        Args:
            wanted: the configuration.
            discovery: a discovery for it and for the active one.
            force: activate it even if it removes devices that pods use.
        """
        if discovery.failed is not None:
            refuse = self._refuse_for_now if self._retry_timer.trying else self._refuse_reload
            return refuse((discovery.failed,))
        pools = self._pools
        node, rosters = pools.with_carry_over(discovery.node), pools.desired_states
        listed = {name: tuple(roster.devices) for name, roster in rosters.items()}
        lost = plan.devices_removed(pools.config, listed, wanted, node)
        held = discovery.held or ResourceHolders()
        objections = in_use.removal_conflicts(lost, held)
        if objections and not force:
            refuse = self._refuse_reload if held.unknown is None else self._refuse_for_now
            return refuse((*objections, in_use.conflict_advice(held)))
        self._retry_timer = RetryTimer()
        served = {
            name: plan.present_ids(roster.devices.values()) for name, roster in rosters.items()
        }
        reply = ReloadReply(
            *plan.changed_pools(pools.config, wanted),
            plan=plan.make_plan(pools.config, served, wanted, node),
            warnings=(*wanted.warnings, *in_use.unchecked_warning(lost, held)),
            forced=objections,
        )
        pools.set_config(wanted)
        self._accept_reload(reply)
        return reply

    def _accept_reload(self, reply: ReloadReply) -> None:
        if self._pools.config is self._newest:  # otherwise a newer one waits, or was refused
            self._refused, self._former_note = (), ""
            if isinstance(self._last_read, bytes):
                accepted.save_config(self._options, self._last_read)
        self.counts[CounterName.RELOADS] += 1
        changes = {kind: getattr(reply, kind) for kind in Changes._fields}
        words = {kind: ",".join(names) for kind, names in changes.items()}
        moved = len(reply.plan.moves) if reply.plan else 0
        forced = {"forced": "; ".join(reply.forced)} if reply.forced else {}
        log.info("reloaded", extra={**words, "moved": moved, **forced})
        for warning in reply.warnings:  # after an automatic reload no client prints them
            log.warning(warning)
        self._event_log.record_event(
            "reload",
            "done",
            why=", ".join(f"{len(names)} {kind}" for kind, names in changes.items()),
        )

    def _read_file(self) -> Tried:
        try:
            return config_file.read_file(self._options.config_file)
        except node_config.ConfigError as error:
            return error.errors

    def _parse_config(self, found: Tried) -> node_config.NodeConfig | ErrorReply:
        self._newest = None
        if isinstance(found, tuple):
            return self._refuse_reload(found)
        try:
            wanted = node_config.require_valid(
                node_config.parse(found, prefix=self._options.resource_prefix)
            )
        except node_config.ConfigError as error:
            return self._refuse_reload(error.errors)
        self._newest = wanted
        return wanted

    def _refuse_for_now(self, errors: tuple[str, ...]) -> ErrorReply:
        """Refuse what may succeed later, and schedule a retry; report the same reason only once."""
        known = self._retry_timer.trying and self._refused == _refusals(errors)
        self._retry_timer = self._retry_timer.after_failure(monotonic())
        return ErrorReply(errors) if known else self._refuse_reload(errors)

    def _refuse_reload(self, errors: tuple[str, ...]) -> ErrorReply:
        self.counts[CounterName.RELOADS_REFUSED] += 1
        self._refused = _refusals(errors)
        log.warning("reload refused, nothing changed", extra={"why": "; ".join(errors)})
        self._event_log.record_event("reload", "refused", why="; ".join(errors))
        return ErrorReply(errors)


def _refusals(errors: tuple[str, ...]) -> tuple[Problem, ...]:
    return tuple(make_problem(Code.RELOAD_REFUSED, f"reload refused: {line}") for line in errors)
