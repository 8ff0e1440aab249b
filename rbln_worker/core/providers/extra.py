"""The operator's own keys, from the pool's ``additionalInfo``."""

from rbln_worker.core.providers.offer import Offer, Question


def offer(question: Question) -> Offer:
    """The keys for every device, overlaid by those for this one.

    The section is called ``extra`` by the reference and ``extraInfo`` by its documentation: both.
    """
    configured = question.pool.additional_info or {}
    keys = {**configured.get("*", {}), **configured.get(question.device.id, {})}
    return Offer(info={"extra": keys, "extraInfo": keys})
