"""gRPC handlers and calls from a protobuf service descriptor, without generated stubs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

LOCAL_OPTIONS: Final = (
    # An own subchannel pool: a shared one would wait for its back-off after a refusal.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
)
"""Options of a channel to a socket of the kubelet."""


def error_text(method: str, error: grpc.RpcError) -> str:
    """Return the reason why a call failed, on one line."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return f"{method} failed"
    details = " ".join((error.details() or "").split())
    return f"{method}: {error.code().name}: {details[:300]}"


def method_handlers(
    service: ServiceDescriptor, methods: Mapping[str, Callable[..., Any]], full_name: str = ""
) -> grpc.GenericRpcHandler:
    """Return the handlers of a service; a method may return a message or its bytes.

    ``full_name``: another version of the service with the same messages.
    """
    table = {name: _handler_of(service.methods_by_name[name], methods[name]) for name in methods}
    return grpc.method_handlers_generic_handler(full_name or service.full_name, table)


async def unary_call(
    channel: grpc.aio.Channel,
    service: ServiceDescriptor,
    name: str,
    request: Message,
    wait_s: float,
) -> Message:
    """Make a unary call; raise grpc.aio.AioRpcError if it fails or takes longer than ``wait_s``."""
    method = service.methods_by_name[name]
    stub = channel.unary_unary(
        f"/{service.full_name}/{name}",
        request_serializer=_to_bytes,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer: Message = await stub(request, timeout=wait_s)
    return answer


def _handler_of(
    method: MethodDescriptor, function: Callable[..., Any]
) -> "grpc.RpcMethodHandler[Any, Any]":
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.server_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        function,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=_to_bytes,
    )


def _to_bytes(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
