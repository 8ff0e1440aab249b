"""The kubelet's Pods API (v1alpha1, since 1.37), as pkg/kubelet/apis/pods/server.go serves it."""

import contextlib
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc

from rbln_worker.kubelet.api import pods_pb2 as pb
from tests.sim.rpc import add_service

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Pods"]
_CALLS_AT_ONCE: Final = 8


class PodsApi:
    """A server on pods-api/pods-api.sock; who watches has all pods first, then each change."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the kubelet's root; nothing is served yet."""
        self.socket = folder / "pods-api" / "pods-api.sock"
        self.watches = 0
        """How many were opened."""
        self.initializing = False
        """The kubelet does not know its pods yet, and refuses watches."""
        self.silent = False
        """Watches are taken, and nothing comes."""
        self.garbage: bytes | None = None
        """What comes instead of a pod, where it does."""
        self._lock = threading.Lock()
        self._pods: dict[str, pb.Pod] = {}
        self._watchers: list[queue.Queue[pb.WatchPodsEvent | None]] = []
        self._server: grpc.Server | None = None
        self._aside: Path | None = None

    def put(self, pod: pb.Pod) -> None:
        """A pod came, or is another one than before."""
        with self._lock:
            known = pod.metadata.uid in self._pods
            self._pods[pod.metadata.uid] = pod
            self._send(pb.MODIFIED if known else pb.ADDED, pod)

    def delete(self, uid: str) -> None:
        """A pod is no more: its name, namespace and UID are all that the event has."""
        with self._lock:
            gone = self._pods.pop(uid)
            self._send(pb.DELETED, pb.Pod(metadata=gone.metadata))

    def start(self) -> None:
        """Serve."""
        self.socket.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        # As with kubelet.sock: gRPC would remove the path of a socket that it stops to serve.
        self._aside = Path(tempfile.mkdtemp(prefix="rba-", dir="/tmp"))
        (self._aside / "p").symlink_to(self.socket.parent)
        self._server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE))
        add_service(self._server, SERVICE, {"WatchPods": self._watch})
        self._server.add_insecure_port(f"unix:{self._aside}/p/{self.socket.name}")
        self._server.start()

    def stop(self, *, removed: bool = False) -> None:
        """Stop serving; the dead socket stays, unless the kubelet was asked to end."""
        server, self._server = self._server, None
        if server is None or self._aside is None:
            return
        shutil.rmtree(self._aside)
        with self._lock:
            for watcher in self._watchers:
                watcher.put(None)
        server.stop(None).wait()
        if removed:
            with contextlib.suppress(FileNotFoundError):
                self.socket.unlink()

    def _send(self, kind: "pb.EventType", pod: pb.Pod) -> None:
        for watcher in self._watchers:
            watcher.put(pb.WatchPodsEvent(type=kind, pod=pod.SerializeToString()))

    def _watch(
        self, _request: pb.WatchPodsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchPodsEvent]:
        self.watches += 1
        if self.initializing:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Kubelet is initializing")
        events: queue.Queue[pb.WatchPodsEvent | None] = queue.Queue()
        if not context.add_callback(lambda: events.put(None)):
            return
        with self._lock:
            pods = tuple(self._pods.values())
            self._watchers.append(events)
        try:
            if not self.silent:
                for pod in pods:
                    yield pb.WatchPodsEvent(
                        type=pb.ADDED, pod=self.garbage or pod.SerializeToString()
                    )
                yield pb.WatchPodsEvent(type=pb.INITIAL_SYNC_COMPLETE)
            while (event := events.get()) is not None:
                yield event
        finally:
            with self._lock:
                self._watchers.remove(events)
