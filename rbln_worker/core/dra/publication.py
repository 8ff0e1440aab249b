"""The state of a publication, and its problems."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rbln_worker.contract.problem import Code, Problem, Severity, make_problem
from rbln_worker.core.dra.reconcile import dropped_fields
from rbln_worker.core.dra.resource_slice import ResourceSlice
from rbln_worker.core.dra.slices import DesiredPool
from rbln_worker.core.kube.api_error import ApiError

MANY_FOREIGN: Final = 3
"""Rounds with another program's slices in a row after which it counts as another driver."""
_NO_SUCCESS: Final = 400
"""The lowest status of a refusal; below it an answer was unreadable, or there was none."""
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = 500
_TOO_MANY: Final = 429


class PublicationState(msgspec.Struct, frozen=True):
    """What the last calls have shown."""

    driver: str
    node: str
    watch_error: ApiError | None = None
    write_error: ApiError | None = None
    dropped: tuple[str, ...] = ()
    """Fields that the API server did not store."""
    left_out: tuple[str, ...] = ()
    """Attributes that the API would refuse, with their devices."""
    foreign: int = 0
    """Rounds in a row in which another program's slices were removed."""

    def after_round(self, *, foreign: int) -> "PublicationState":
        """Return the state after a round of writes; ``foreign``: another program's slices."""
        return msgspec.structs.replace(
            self, write_error=None, foreign=self.foreign + 1 if foreign else 0
        )

    def when_published(
        self, desired: DesiredPool, observed: Iterable[ResourceSlice]
    ) -> "PublicationState":
        """Return the state when there is nothing to write."""
        dropped = dropped_fields(desired.devices, observed)
        return msgspec.structs.replace(self, dropped=dropped, left_out=desired.left_out)

    def list_problems(self) -> tuple[Problem, ...]:
        """Return the problems for the status."""
        problems = []
        if (error := self.write_error or self.watch_error) is not None:
            problems.append(self._error_problem(error))
        if self.foreign >= MANY_FOREIGN:
            text = (
                f"another program publishes slices of {self.driver} for this node again and again"
            )
            hint = f"kubectl get resourceslices --field-selector spec.nodeName={self.node} -o wide"
            problems.append(make_problem(Code.SLICES_NOT_PUBLISHED, text, self.driver, hint=hint))
        if self.dropped:
            text = f"the API server does not store: {', '.join(self.dropped)}"
            problems.append(make_problem(Code.SLICE_FIELDS_DROPPED, text, self.driver))
        if self.left_out:
            text = "attributes that are too long are not published"
            problem = make_problem(
                Code.SLICE_FIELDS_DROPPED, text, self.driver, self.left_out, hint=""
            )
            problems.append(problem)
        return tuple(problems)

    def _error_problem(self, error: ApiError) -> Problem:
        if (
            error.status < _NO_SUCCESS
            or error.status == _TOO_MANY
            or error.status >= _SERVER_ERRORS
        ):
            return make_problem(
                Code.API_SERVER_UNREACHABLE,
                str(error),
                self.driver,
                severity=Severity.WARNING,
            )
        hint = None
        if error.status == _NOT_FOUND:
            hint = (
                f"kubectl get node {self.node}; kubectl api-resources --api-group resource.k8s.io "
                "(Kubernetes 1.34 has resource.k8s.io/v1)"
            )
        return make_problem(Code.SLICES_NOT_PUBLISHED, str(error), self.driver, hint=hint)
