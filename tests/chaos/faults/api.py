"""The API server hangs, refuses, lies, forgets and goes; its credentials change."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.chaos import pools
from tests.chaos.fault import Plan
from tests.chaos.touch import Touch
from tests.chaos.world import World
from tests.sim.api_server import ApiRequest, RawAnswer, http_answer
from tests.sim.api_store import ApiProblem
from tests.sim.dra_objects import SLICES

USES: Final = frozenset({"api"})
TOUCHES: Final = dict.fromkeys(pools.DRA, Touch.LISTS)
"""Claims may be refused while they can't be read, and devices not be advertised."""
REST_S: Final = 45.0
"""A client waits up to 30 s before it tries a server again that has failed for long."""
SAID: Final = frozenset({"api-server-unreachable", "slices-not-published"})

Answer = Callable[[ApiRequest], RawAnswer | None]


def hangs(world: World, _: Random) -> Plan:
    """Every request waits."""
    return _answers(world, "the API server answers nothing", lambda _: RawAnswer(end="hang"))


def refuses(world: World, rng: Random) -> Plan:
    """Most requests are refused, some with a time to wait."""
    code, reason, header = rng.choice(
        (
            (500, "InternalError", ""),
            (503, "ServiceUnavailable", "Retry-After: 1"),
            (429, "TooManyRequests", "Retry-After: 1"),
            (403, "Forbidden", ""),
        )
    )
    chance = Random(rng.random())  # noqa: S311
    body = json.dumps(ApiProblem(code, reason, "not today").status).encode()
    headers = (header,) if header else ()

    def answer(_: ApiRequest) -> RawAnswer | None:
        if chance.random() < 0.3:
            return None
        return RawAnswer(http_answer(code, body, *headers), end="keep")

    return _answers(world, f"the API server answers {code}", answer, slices_anew=True)


def conflicts(world: World, _: Random) -> Plan:
    """Every write meets another one."""
    body = json.dumps(ApiProblem(409, "Conflict", "it has been modified").status).encode()

    def answer(request: ApiRequest) -> RawAnswer | None:
        is_write = request.verb in {"PUT", "DELETE", "PATCH"}
        return RawAnswer(http_answer(409, body), end="keep") if is_write else None

    return _answers(world, "writes conflict", answer, slices_anew=True)


def expires(world: World, _: Random) -> Plan:
    """Watches are too old, all the time."""
    body = json.dumps(ApiProblem(410, "Expired", "too old resource version").status).encode()

    def answer(request: ApiRequest) -> RawAnswer | None:
        return RawAnswer(http_answer(410, body), end="keep") if "watch" in request.query else None

    def inject() -> None:
        store = world.dra.api.store
        world.dra.act(lambda: setattr(store, "compacted", store.version))
        world.dra.api.fault = answer
        world.dra.api.drop_connections()

    return _plan(world, "watches are too old", inject)


def closes(world: World, rng: Random) -> Plan:
    """Connections end, some times in a row."""
    times = rng.randrange(1, 6)

    def inject() -> None:
        for _ in range(times):
            world.dra.api.drop_connections()

    return _plan(world, f"the API server closes its connections, {times} times", inject)


def lies(world: World, rng: Random) -> Plan:
    """Answers are no JSON, or of other types, or claims of others."""
    chance = Random(rng.random())  # noqa: S311

    def answer(request: ApiRequest) -> RawAnswer | None:
        if request.verb != "GET" or "watch" in request.query or chance.random() < 0.3:
            return None
        wrong = chance.choice(
            (
                b"<html>502 Bad Gateway</html>",
                b'{"metadata": {"resourceVersion": "1"}, "items": [{"metadata"',
                b'{"items": {"metadata": 7}}',
                b"null",
                b"[" * 20_000,
                b'{"metadata": {"uid": 7}, "status": []}',
                _another_claim(world, request, chance),
            )
        )
        return RawAnswer(http_answer(200, wrong), end="keep")

    return _answers(world, "the API server lies", answer)


def loses_writes(world: World, _: Random) -> Plan:
    """Writes are answered as done, and nothing is stored."""

    def answer(request: ApiRequest) -> RawAnswer | None:
        if request.verb == "GET" or not request.path.startswith(SLICES):
            return None
        body = request.object
        meta: dict[str, Any] = body.setdefault("metadata", {})
        meta.setdefault("name", f"{meta.get('generateName', 'x')}lost")
        meta |= {"uid": "lost", "resourceVersion": "1"}
        code = 201 if request.verb == "POST" else 200
        return RawAnswer(http_answer(code, json.dumps(body).encode()), end="keep")

    return _answers(world, "writes of slices are lost", answer, slices_anew=True)


def goes(world: World, _: Random) -> Plan:
    """It stops, and starts."""
    return Plan(
        what="the API server stops, and starts",
        uses=USES,
        touches=TOUCHES,
        inject=world.dra.api.stop,
        undo=world.dra.api.start,
        seen=lambda: _is_said(world),
        seen_s=30.0,
        rest_s=REST_S,
    )


def token_expires(world: World, rng: Random) -> Plan:
    """The token is refused until the kubelet has written a new one."""
    token = f"token-{rng.randrange(10**6)}"

    def inject() -> None:
        world.dra.api.token = token
        world.dra.api.drop_connections()

    return Plan(
        what="the token expires",
        uses=USES,
        touches=TOUCHES,
        inject=inject,
        undo=world.dra.trust_server,
        seen=lambda: _is_said(world),
        seen_s=30.0,
        rest_s=REST_S,
    )


def ca_changes(world: World, rng: Random) -> Plan:
    """The server comes back with a certificate of another CA, which the clients get later."""
    api, name = world.dra.api, f"ca-{rng.randrange(10**6)}"

    def inject() -> None:
        api.stop()
        api.renew_certificate(name)
        api.start()

    return Plan(
        what="the CA changes",
        uses=USES,
        touches=TOUCHES,
        inject=inject,
        undo=world.dra.trust_server,
        seen=lambda: _is_said(world),
        seen_s=30.0,
        rest_s=REST_S,
    )


def slices_wiped(world: World, rng: Random) -> Plan:
    """Somebody deletes slices of this node; a kubelet does so as it starts."""
    driver = rng.choice(("", *(rest.driver for rest in pools.DRA.values())))
    return Plan(
        what=f"slices of {driver or 'all drivers'} are deleted",
        uses=USES,
        inject=lambda: world.dra.wipe_slices(driver),
        rest_s=REST_S,
    )


def _is_said(world: World) -> bool:
    """Every DRA pool has the problem in its status."""
    status = world.status()
    return status is not None and all(
        any(problem.code in SAID for problem in status.pools[pool].problems) for pool in pools.DRA
    )


def _answers(world: World, what: str, answer: Answer, *, slices_anew: bool = False) -> Plan:
    """A fault of the server's answers; ``slices_anew``: slices have to be written meanwhile."""

    def inject() -> None:
        world.dra.api.fault = answer
        if slices_anew:
            world.dra.wipe_slices("")
        world.dra.api.drop_connections()

    return _plan(world, what, inject)


def _plan(world: World, what: str, inject: Callable[[], None]) -> Plan:
    def undo() -> None:
        world.dra.api.fault = lambda _: None

    return Plan(what=what, uses=USES, touches=TOUCHES, inject=inject, undo=undo, rest_s=REST_S)


def _another_claim(world: World, request: ApiRequest, chance: Random) -> bytes:
    """A claim whose UID, driver, pool or device is another one; what is no claim stays."""
    if "/resourceclaims/" not in request.path:
        return b"{}"
    try:
        claim = world.dra.api.store.get(request.path)
    except ApiProblem:
        return b"{}"
    result = claim["status"]["allocation"]["devices"]["results"][0]
    match chance.randrange(4):
        case 0:
            claim["metadata"]["uid"] = "of-another"
        case 1:
            result["device"] = "0000-ff-00-0"
        case 2:
            result["pool"] = "another-node"
        case _:
            result["driver"] = "gpu.example.com"
    return json.dumps(claim).encode()
