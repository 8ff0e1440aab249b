"""Telling the kubelet of an endpoint through its own socket."""

from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.plugin import API_VERSION
from rbln_worker.kubelet.service import call

CALL_S: Final = 10.0
"""The kubelet dials back inside the call, and gives that 10 s (devicemanager, dial time-out)."""


class NotRegistered(Exception):
    """The kubelet did not take the registration."""

    def __init__(self, why: str, *, reached: bool) -> None:
        super().__init__(why)
        self.why = why
        self.reached = reached
        """The kubelet may have heard the call."""


async def register(
    kubelet_socket: Path, *, endpoint: str, pool: str, options: pb.DevicePluginOptions
) -> None:
    """Register an endpoint that is being served; NotRegistered.

    Args:
        kubelet_socket: path of kubelet.sock.
        endpoint: the file name of the plugin's socket in the same folder.
        pool: the resource's whole name.
        options: kubelets before 1.25 ask for them here, and nowhere else.
    """
    request = pb.RegisterRequest(
        version=API_VERSION, endpoint=endpoint, resource_name=pool, options=options
    )
    # A pool of its own: a shared subchannel would sit out its back-off from an earlier refusal.
    own_pool = (("grpc.use_local_subchannel_pool", 1),)
    service = pb.DESCRIPTOR.services_by_name["Registration"]
    async with grpc.aio.insecure_channel(f"unix:{kubelet_socket}", options=own_pool) as channel:
        try:
            await call(channel, service, "Register", request, CALL_S)
        except grpc.aio.AioRpcError as error:
            reached = error.code() is not grpc.StatusCode.UNAVAILABLE
            details = (error.details() or "").strip()
            raise NotRegistered(
                f"Register: {error.code().name}: {details[:300]}", reached=reached
            ) from error
