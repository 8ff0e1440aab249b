"""Registration of an endpoint through the kubelet's own socket."""

from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from rbln_worker.contract.errors import RblnError
from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from rbln_worker.kubelet.plugin import API_VERSION
from rbln_worker.kubelet.service import LOCAL_OPTIONS, error_text, unary_call

CALL_TIMEOUT_S: Final = 10.0
"""Time-out in seconds. The kubelet connects back inside the call, with a time-out of 10 s
(devicemanager, dial time-out)."""


class RegistrationError(RblnError):
    """The kubelet did not accept the registration."""

    def __init__(self, why: str, *, reached: bool) -> None:
        super().__init__(why)
        self.why = why
        self.reached = reached
        """True if the call may have reached the kubelet."""


async def register_endpoint(
    kubelet_socket: Path, *, endpoint: str, pool: str, options: pb.DevicePluginOptions
) -> None:
    """Register an endpoint that is being served; raise RegistrationError.

    Args:
        kubelet_socket: path of kubelet.sock.
        endpoint: the file name of the plugin's socket in the same folder.
        pool: the full resource name.
        options: kubelets before 1.25 get the options only from this call.
    """
    request = pb.RegisterRequest(
        version=API_VERSION, endpoint=endpoint, resource_name=pool, options=options
    )
    service = pb.DESCRIPTOR.services_by_name["Registration"]
    async with grpc.aio.insecure_channel(
        f"unix:{kubelet_socket}", options=LOCAL_OPTIONS
    ) as channel:
        try:
            await unary_call(channel, service, "Register", request, CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            reached = error.code() is not grpc.StatusCode.UNAVAILABLE
            raise RegistrationError(error_text("Register", error), reached=reached) from error
