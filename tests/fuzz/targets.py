"""All that is fuzzed: a name, and what takes any bytes and holds what is promised of them."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.fuzz import api, configurations, kernel, remains, words

Target = Callable[[bytes], None]
"""Calls the real code; what comes out of it but for what is declared is a finding."""

TARGETS: Final[Mapping[str, Target]] = {
    "document": configurations.any_document,
    "yaml": configurations.yaml,
    "configuration": configurations.configuration,
    "functions": configurations.functions,
    "request": words.request,
    "answer": words.answer,
    "to-supervisor": words.to_supervisor,
    "to-worker": words.to_worker,
    "look": words.look,
    "sections": words.sections,
    "pods": words.pods,
    "pods-api": words.pods_api,
    "checkpoint": words.checkpoint,
    "allocate": words.allocate,
    "prefer": words.prefer,
    "uevent": kernel.event,
    "links": kernel.links,
    "routes": kernel.routes,
    "question": kernel.question,
    "devlink": kernel.devlink,
    "ddp": kernel.package,
    "device-files": kernel.device_files,
    "events": remains.events,
    "ledger": remains.ledger,
    "options": remains.asked_before,
    "accepted": remains.accepted_before,
    "lock": remains.lock,
    "last-log": remains.last_log,
    "command-line": remains.command_line,
    "api-answer": api.api_answer,
    "kubeconfig": api.kubeconfig,
    "agent-state": api.agent_state,
    "event-text": api.event_text,
}
