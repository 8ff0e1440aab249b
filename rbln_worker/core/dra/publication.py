"""The state of a publication, and its problems."""

from typing import Final

import msgspec

from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.core.kube.api_error import ApiError

MANY_FOREIGN: Final = 3
"""Rounds with another program's slices in a row after which it counts as another driver."""


class PublicationState(msgspec.Struct):
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
            code = Code.SLICE_FIELDS_DROPPED
            problems.append(make_problem(code, text, self.driver, self.left_out, hint=""))
        return tuple(problems)

    def _error_problem(self, error: ApiError) -> Problem:
        if not 400 <= error.status < 500 or error.status == 429:  # no refusal
            return make_problem(Code.API_SERVER_UNREACHABLE, str(error), self.driver)
        hint = None
        if error.status == 404:
            hint = (
                f"kubectl get node {self.node}; kubectl api-resources --api-group resource.k8s.io "
                "(Kubernetes 1.34 has resource.k8s.io/v1)"
            )
        return make_problem(Code.SLICES_NOT_PUBLISHED, str(error), self.driver, hint=hint)
