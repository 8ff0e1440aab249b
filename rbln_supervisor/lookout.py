"""Has the node looked at, when asked and now and then, and puts into force what comes of it.

A configuration comes into force together with a look that was made for it, or not at all.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable
from time import monotonic

from rbln_supervisor import config_file, node
from rbln_supervisor.core import inquiries
from rbln_supervisor.core.commands import DryRun, Planned, Refused, Reloaded, Reply, Rescanned
from rbln_supervisor.core.configuration import config
from rbln_supervisor.core.difference import changes
from rbln_supervisor.core.looks import Batch, Looks, Trial
from rbln_supervisor.node import Look
from rbln_supervisor.options import Options
from rbln_supervisor.pools import Pools
from rbln_supervisor.scout import Scout

_LEAVING = Refused(("the supervisor is leaving",))
_CROWDED = Refused(("too many wait for a look at the node already, ask again later",))

log = logging.getLogger(__name__)


class Lookout:
    """Requests that take a look at the node, and the looks that nobody asked for."""

    def __init__(
        self, options: Options, pools: Pools, answer: Callable[[bytes, Reply], None]
    ) -> None:
        """``answer`` sends an answer to a request that was not answered at once."""
        self._options = options
        self._pools = pools
        self._answer = answer
        self._scout = Scout(options.host_root)
        self._looks = Looks().ask(None)
        self._leaving = False
        self._refused: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each: why the last reload was refused, and what is wrong with the node."""
        return (*self._refused, *self._pools.problems)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that turn readable when ``turn`` has something to do."""
        return self._scout.descriptors

    @property
    def due(self) -> float:
        """When ``turn`` has to be called at the latest (monotonic seconds)."""
        if self._leaving:
            return math.inf
        if self._scout.deadline is not None:
            return self._scout.deadline
        return 0.0 if self._looks.is_one_wanted else self._pools.due

    @property
    def cost_s(self) -> float:
        """Seconds of a core that the last look took."""
        return self._scout.cost_s

    def look(self) -> None:
        """Have the node looked at: something happened there."""
        if not self._leaving:
            self._looks = self._looks.ask(None)

    def rescan(self, asker: bytes) -> Reply | None:
        """A look for its own sake; None: answered later."""
        if no := self._no():
            return no
        self._looks = self._looks.ask(asker)
        return None

    def reload(self, asker: bytes | None) -> Reply | None:
        """Read the configuration file, and look at the node for it; None: answered later."""
        if no := self._no():
            return no
        path, prefix = self._options.config_file, self._options.resource_prefix
        try:
            wanted = config.strict(config.parse(config_file.read(path), prefix=prefix))
        except config.ConfigError as error:
            return self._refuse(error.errors)
        self._looks = self._looks.ask_for(wanted, asker)
        return None

    def try_out(self, asker: bytes, request: DryRun) -> Reply | None:
        """Look at the node as a configuration would, and tell the effect; None: answered later."""
        if no := self._no():
            return no
        wanted = inquiries.tried(request, self._options.resource_prefix)
        if isinstance(wanted, Planned):
            return wanted
        self._looks = self._looks.ask_about(Trial(wanted, asker))
        return None

    def turn(self) -> None:
        """Take in a look that has ended, and begin the next one where one is due."""
        now = monotonic()
        look = self._scout.turn(now)
        if self._leaving:
            return
        if look is not None and self._looks.running is not None:
            self._ended(look)
        elif look is not None:  # the one before can't be ended, so that none can begin
            self._pools.take_in(look)
            while self._looks.is_one_wanted:
                self._looks = self._looks.begin()
                self._ended(look)
        if self._scout.is_busy:
            return
        if not self._looks.is_one_wanted and now >= self._pools.due:
            self._looks = self._looks.ask(None)
        if self._looks.is_one_wanted:
            self._begin()

    def leave(self) -> None:
        """No more looks; whoever waits for one hears that."""
        self._leaving = True
        self._scout.end()
        for asker in self._looks.askers:
            self._answer(asker, _LEAVING)
        self._looks = Looks()

    def _no(self) -> Refused | None:
        if self._leaving:  # whatever is found would ask for workers again
            return _LEAVING
        return _CROWDED if self._looks.is_full else None

    def _begin(self) -> None:
        self._looks = self._looks.begin()
        look = self._looks.running
        pools = (look.config if look and look.config else self._pools.config).pools
        allowed = self._options.allow_default_route
        self._pools.look_begins()
        try:
            self._scout.begin(node.needs(pools, allow_default_route=allowed))
        except OSError as error:
            self._ended(Look(failed=f"the node can't be looked at: {error.strerror}"))

    def _ended(self, look: Look) -> None:
        self._looks, ended = self._looks.end()
        match ended:
            case Trial():
                self._answer(ended.asker, self._tried(ended, look))
            case Batch():
                self._take_in(ended, look)
            case None:
                pass  # nobody waits for it any more

    def _tried(self, trial: Trial, look: Look) -> Reply:
        if look.failed is not None:
            return Refused((look.failed,))
        pools = self._pools
        return inquiries.planned(trial.config, pools.config, look.node, pools.rosters)

    def _take_in(self, batch: Batch, look: Look) -> None:
        reply = self._reloaded(batch.config, look) if batch.config is not None else None
        if self._pools.node is None and look.failed is None:
            log.info("ready to serve", extra={"pools": len(self._pools.config.pools)})
        touched = self._pools.take_in(look)
        if reply is not None:
            for asker in batch.reloads:
                self._answer(asker, reply)
        for asker in batch.rescans:
            self._answer(asker, Rescanned(self._pools.functions, touched, self._pools.problems))

    def _reloaded(self, wanted: config.NodeConfig, look: Look) -> Reply:
        if look.failed is not None:
            return self._refuse((look.failed,))
        changed = changes(self._pools.config, wanted)
        self._pools.configure(wanted)
        self._refused = ()
        self.counts["reloads"] += 1
        words = {kind: ",".join(names) for kind, names in changed._asdict().items()}
        log.info("reloaded", extra=words)
        return Reloaded(*changed, warnings=wanted.warnings)

    def _refuse(self, errors: tuple[str, ...]) -> Refused:
        self.counts["reloads refused"] += 1
        self._refused = tuple(f"reload refused: {line}" for line in errors)
        log.warning("reload refused, nothing changed", extra={"why": "; ".join(errors)})
        return Refused(errors)
