"""Performs the effects of the reload step: reads, watches and saves the configuration."""

import logging
import math
from collections import Counter
from time import monotonic

from rbln_supervisor.config import accepted, config_file
from rbln_supervisor.config.accepted import StartConfig
from rbln_supervisor.config.watch import ConfigWatch
from rbln_supervisor.core.config.node_config import ConfigError, NodeConfig
from rbln_supervisor.core.control.protocol import ErrorReply, ReloadReply, Reply
from rbln_supervisor.core.matching.plan import CHANGES
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.core.step import reload_step as steps
from rbln_supervisor.core.step.reload_step import ReloadState, step_reload
from rbln_supervisor.events.log import EventLog
from rbln_supervisor.options import Options
from rbln_supervisor.workers.pools import Pools
from rbln_worker.contract.inventory import DiscoveryResult
from rbln_worker.contract.problem import Code, Problem, make_problem

log = logging.getLogger(__name__)


class ConfigReloader:
    """The configuration file, and the reloads from it."""

    def __init__(
        self, options: Options, pools: Pools, start: StartConfig, journal: EventLog
    ) -> None:
        self._options = options
        self._pools = pools
        self._event_log = journal
        watched = options.watch_config
        self._watch = ConfigWatch(options.config_file, monotonic()) if watched else None
        self.counts: Counter[CounterName] = Counter()
        self._state = ReloadState(options.resource_prefix, start.read, former_note=start.former)
        if start.refused:
            self._state, refusal = steps.refuse_reload(self._state, (*start.refused, start.former))
            self._refuse_reload(refusal)
        elif isinstance(start.read, bytes) and not start.config.invalid:
            accepted.save_config(options, start.read)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Reasons why the last reload was refused, and why changes may be missed."""
        unwatched = self._watch.problem if self._watch else None
        late = (make_problem(Code.INOTIFY_EXHAUSTED, unwatched),) if unwatched else ()
        return (*self._state.problems, *late)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that become readable when ``poll_file`` has work."""
        return self._watch.descriptors if self._watch else ()

    @property
    def next_deadline(self) -> float:
        """Latest time of the next ``poll_file`` (monotonic seconds)."""
        watch_at = self._watch.next_deadline if self._watch else math.inf
        return min(watch_at, self._state.retry_at)

    def stop_watching(self) -> None:
        """Stop watching the file."""
        if self._watch:
            self._watch.close()

    def read_config(self) -> NodeConfig | ErrorReply | None:
        """Read the file; return its configuration, or a refusal if it has any error."""
        return self._read_file("request")

    def poll_file(self, now: float) -> NodeConfig | None:
        """Return the configuration of a file that has changed, once; None also if it is invalid.

        Also return that of an unchanged file if its reload was refused because the kubelet did not
        answer which devices are in use, and it is time to try again.
        """
        changed = self._watch is not None and self._watch.process_events(now)
        again = now >= self._state.retry_at
        if not changed and not again:
            return None
        found = self._read_file("retry" if again else "change")
        return found if isinstance(found, NodeConfig) else None

    def activate(self, config: NodeConfig, result: DiscoveryResult, *, force: bool) -> Reply | None:
        """Activate a configuration, or refuse it; the caller applies the discovery's result next.

        Args:
            config: the configuration.
            result: a discovery for it and for the active one.
            force: activate it even if it removes devices that pods use.
        """
        pools = self._pools
        node = pools.with_carry_over(result.node)
        done = steps.DiscoveryDone(config, force, result, node, pools.config, pools.desired_states)
        self._state, effect = step_reload(self._state, done, monotonic())
        match effect:
            case steps.Activate(config=config, reply=reply, content=content):
                pools.set_config(config)
                if content is not None:
                    accepted.save_config(self._options, content)
                self._report_reload(reply)
                return reply
            case steps.Refuse():
                return self._refuse_reload(effect)
            case _:
                return None

    def _read_file(self, cause: steps.ReadCause) -> NodeConfig | ErrorReply | None:
        content: steps.Content
        try:
            content = config_file.read_file(self._options.config_file)
        except ConfigError as error:
            content = error.errors
        if cause != "request" and content != self._state.content:
            log.info("the configuration file has changed")
        self._state, effect = step_reload(self._state, steps.FileRead(content, cause), monotonic())
        match effect:
            case steps.RequestDiscovery(config=config):
                return config
            case steps.Refuse():
                return self._refuse_reload(effect)
            case _:
                return None

    def _report_reload(self, reply: ReloadReply) -> None:
        self.counts[CounterName.RELOADS] += 1
        changes = {change: reply.plan.pools_with(change) for change in CHANGES}
        words: dict[str, object] = {kind: ",".join(names) for kind, names in changes.items()}
        forced = {"forced": "; ".join(reply.forced)} if reply.forced else {}
        log.info("reloaded", extra={**words, "moved": len(reply.plan.moves), **forced})
        for warning in reply.warnings:  # after an automatic reload no client prints them
            log.warning(warning)
        why = ", ".join(f"{len(names)} {kind}" for kind, names in changes.items())
        self._event_log.record_event("reload", "done", why=why)

    def _refuse_reload(self, refusal: steps.Refuse) -> ErrorReply:
        if refusal.is_new:
            self.counts[CounterName.RELOADS_REFUSED] += 1
            why = "; ".join(refusal.errors)
            log.warning("reload refused, nothing changed", extra={"why": why})
            self._event_log.record_event("reload", "refused", why=why)
        return ErrorReply(refusal.errors)
