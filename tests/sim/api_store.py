"""Objects of an API server: versions, conflicts, patches, and the changes that a watch sends."""

import copy
from typing import Any, Final

Obj = dict[str, Any]

KEPT_CHANGES: Final = 1000


class ApiProblem(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
        }


class ApiStore:
    """Objects by path, such as ``/apis/events.k8s.io/v1/namespaces/default/events/one``."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.version = 1
        self.changes: list[tuple[int, str, str, Obj]] = []
        """Version, type, collection and object of each change."""
        self.compacted = 0
        """The oldest version that a watch may begin from."""

    def list_objects(self, collection: str, selector: str = "") -> Obj:
        """The objects of a collection that a field selector selects."""
        items = [
            copy.deepcopy(one)
            for path, one in tuple(self.objects.items())  # tests list from their own thread
            if path.rpartition("/")[0] == collection and is_selected(one, selector)
        ]
        return {"metadata": {"resourceVersion": str(self.version)}, "items": items}

    def get(self, path: str) -> Obj:
        if path not in self.objects:
            raise ApiProblem(404, "NotFound", f"{path} not found")
        return copy.deepcopy(self.objects[path])

    def create(self, collection: str, body: Obj) -> Obj:
        meta = body.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = f"{meta['generateName']}{self.version:05x}"
        path = f"{collection}/{meta['name']}"
        if path in self.objects:
            raise ApiProblem(409, "AlreadyExists", f"{path} already exists")
        meta["uid"] = f"uid-{self.version}"
        meta["creationTimestamp"] = "2026-11-30T00:00:00Z"
        return self._store("ADDED", path, body)

    def update(self, path: str, body: Obj) -> Obj:
        now = self.get(path)
        given = body["metadata"].get("resourceVersion")
        if given and given != now["metadata"]["resourceVersion"]:
            raise ApiProblem(409, "Conflict", f"{path} has been modified")
        body["metadata"] = {**now["metadata"], **body["metadata"]}
        return self._store("MODIFIED", path, body)

    def patch(self, path: str, body: Obj) -> Obj:
        return self._store("MODIFIED", path, merge_patch(self.get(path), body))

    def delete(self, path: str, body: Obj) -> Obj:
        meta = self.get(path)["metadata"]
        for key, value in body.get("preconditions", {}).items():
            if meta.get(key) != value:
                raise ApiProblem(409, "Conflict", f"{path}: another {key}")
        gone = self.objects.pop(path)
        self._record("DELETED", path, gone)
        return {"kind": "Status", "status": "Success"}

    def changes_since(
        self, collection: str, version: int, selector: str = ""
    ) -> list[tuple[int, str, Obj]]:
        if version < self.compacted:
            raise ApiProblem(410, "Expired", f"too old resource version: {version}")
        return [
            (at, change, item)
            for at, change, where, item in self.changes
            if at > version and where == collection and is_selected(item, selector)
        ]

    def _store(self, change: str, path: str, body: Obj) -> Obj:
        self.objects[path] = body
        self._record(change, path, body)
        return copy.deepcopy(body)

    def _record(self, change: str, path: str, body: Obj) -> None:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        entry = (self.version, change, path.rpartition("/")[0], copy.deepcopy(body))
        self.changes = [*self.changes[-KEPT_CHANGES:], entry]


def is_selected(item: Obj, selector: str) -> bool:
    """A field selector without ``!=``: ``spec.nodeName=x,spec.driver=y``."""
    for term in filter(None, selector.split(",")):
        path, _, wanted = term.partition("=")
        value: Any = item
        for key in path.split("."):
            value = value.get(key, {}) if isinstance(value, dict) else {}
        if value != wanted:
            return False
    return True


def merge_patch(target: object, patch: object) -> Any:  # noqa: ANN401
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
