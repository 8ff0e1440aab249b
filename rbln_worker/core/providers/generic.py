"""Nothing but the device's ID: for drivers that need no node."""

from rbln_worker.core.providers.offer import Offer, Question


def offer(question: Question) -> Offer:
    """The section ``generic``."""
    return Offer(info={"generic": {"deviceID": question.device.id}})
