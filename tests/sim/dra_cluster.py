"""The part of a cluster that a DRA driver needs: API server, node, slices and claims."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from tests.sim.api_server import SimApiServer
from tests.sim.dra_objects import (
    SLICES,
    advertised_devices,
    claim_object,
    claims_path,
    free_of_taints,
)
from tests.sim.dra_records import Claim

NAMESPACE: Final = "default"

T = TypeVar("T")


class SimCluster:
    """Serves from ``with`` to the end of the block; its kubeconfig names files."""

    def __init__(self, home: Path, node: str) -> None:
        """``home``: an empty folder of our own."""
        self.node = node
        self.api = SimApiServer(home)
        self.kubeconfig = home / "kubeconfig"
        self._token_file = home / "token"
        self._ca_file = home / "trusted.crt"

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.trust_server()
        self.api.kubeconfig(tokenFile=str(self._token_file))
        document = json.loads(self.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["certificate-authority"] = str(self._ca_file)
        self.kubeconfig.write_text(json.dumps(document))
        self.act(lambda: self.api.store.create("/api/v1/nodes", {"metadata": {"name": self.node}}))
        return self

    def __exit__(self, *_: object) -> None:
        self.api.__exit__()

    def trust_server(self) -> None:
        """Give clients the token and the CA that the server has now, as the kubelet would."""
        contents = {self._token_file: self.api.token, self._ca_file: self.api.ca.read_text()}
        for path, content in contents.items():
            aside = path.with_suffix(".new")
            aside.write_text(content)
            aside.replace(path)

    def act(self, work: Callable[[], T]) -> T:
        """Do something with the server's objects, in the server's thread."""
        return self.api.act(work)

    def slices(self) -> list[dict[str, Any]]:
        """Return all ResourceSlices."""
        items: list[dict[str, Any]] = self.act(lambda: self.api.store.list_objects(SLICES))["items"]
        return items

    def wipe_slices(self, driver: str) -> None:
        """Delete the slices of a driver, or (empty) of all: the kubelet does so."""

        def wipe() -> None:
            store = self.api.store
            for one in store.list_objects(SLICES)["items"]:
                if driver in {"", one["spec"]["driver"]}:
                    store.delete(f"{SLICES}/{one['metadata']['name']}", {})

        self.act(wipe)

    def allocatable(self, driver: str) -> tuple[str, ...]:
        """Return the devices that the scheduler would give to pods, by their names in slices."""
        return free_of_taints(advertised_devices(self.slices(), driver))

    def create_claim(self, name: str, driver: str, devices: Iterable[str]) -> Claim:
        """Create a claim that is allocated and reserved for a pod of its name."""
        body = claim_object(
            name, NAMESPACE, driver=driver, node=self.node, devices=devices, pod=name
        )
        made = self.act(lambda: self.api.store.create(claims_path(NAMESPACE), body))
        return Claim(NAMESPACE, made["metadata"]["uid"], name)

    def delete_claim(self, claim: Claim) -> None:
        """Delete a claim."""
        path = f"{claims_path(claim.namespace)}/{claim.name}"
        self.act(lambda: self.api.store.delete(path, {}))
