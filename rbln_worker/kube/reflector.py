"""The current objects of a collection: listed once, then watched, listed again where needed."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from rbln_worker.core.kube.api_error import EXPIRED_STATUS, ApiError
from rbln_worker.kube.client import ApiClient, HasMetadata, jittered_delay

MIN_WATCH_S: Final = 1.0
"""A watch that ends sooner counts as a failure: the next one waits."""

Object = TypeVar("Object", bound=HasMetadata)


async def follow_list(
    client: ApiClient,
    path: str,
    type: type[Object],
    *,
    on_problem: Callable[[ApiError | None], None],
) -> AsyncGenerator[dict[str, Object], None]:
    """Yield all objects of a collection by name, at first and after each change; never ends.

    The objects are of a kind without namespaces. ``on_problem`` gets each error, and None when
    the server answers again. After an error the collection is listed again: at once after 410 (the
    version is too old), else after a delay that grows.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        watched_since = math.inf
        try:
            listed = await client.list(path, type)
            version = listed.metadata.resource_version
            objects = {one.metadata.name: one for one in listed.items}
            on_problem(None)
            yield dict(objects)
            while True:
                watched_since = loop.time()
                async with aclosing(client.watch(path, version, type)) as events:
                    async for event in events:
                        version = event.resource_version or version
                        if event.object is not None:
                            name = event.object.metadata.name
                            objects.pop(name, None)
                            if event.type != "DELETED":
                                objects[name] = event.object
                            yield dict(objects)
                has_lasted = loop.time() - watched_since >= MIN_WATCH_S
                failures = 0 if has_lasted else failures + 1
                if failures:
                    await asyncio.sleep(jittered_delay(failures))
        except ApiError as error:
            has_lasted = loop.time() - watched_since >= MIN_WATCH_S
            failures = 1 if has_lasted else failures + 1
            if error.status == EXPIRED_STATUS and failures == 1:
                continue
            on_problem(error)
            await asyncio.sleep(jittered_delay(failures, error.retry_after_s))
