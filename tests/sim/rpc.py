"""gRPC servers and clients out of a service's descriptor; no generated ``_pb2_grpc`` is needed."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rbln_worker.kubelet.api import deviceplugin_pb2, pluginregistration_pb2

DEVICE_PLUGIN: Final = deviceplugin_pb2.DESCRIPTOR.services_by_name["DevicePlugin"]
KUBELET: Final = deviceplugin_pb2.DESCRIPTOR.services_by_name["Registration"]
WATCHED: Final = pluginregistration_pb2.DESCRIPTOR.services_by_name["Registration"]

CHANNEL_OPTIONS: Final = (
    # A channel to a path must not inherit the back-off of an earlier life of the same path.
    ("grpc.use_local_subchannel_pool", 1),
    # What Go's gRPC, and so the kubelet, sends and accepts.
    ("grpc.default_authority", "localhost"),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # A socket is found between its bind and its listen, too: the next try must not take a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

Handler = Callable[[Any, grpc.ServicerContext], Any]
"""Request and context → reply, or an iterator of replies where the method streams them."""

Reply = TypeVar("Reply", bound=Message)


def channel_to(socket: object) -> grpc.Channel:
    """A channel to a unix socket's path; it connects with the first call."""
    return grpc.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS)


def add_service(
    server: grpc.Server, service: ServiceDescriptor, methods: Mapping[str, Handler]
) -> None:
    """Let ``server`` answer these of the service's methods; the others are UNIMPLEMENTED."""
    handlers = {name: _handler(service.methods_by_name[name], f) for name, f in methods.items()}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.full_name, handlers),)
    )


def unary(
    channel: grpc.Channel, service: ServiceDescriptor, method: str, reply: type[Reply]
) -> "grpc.UnaryUnaryMultiCallable[Message, Reply]":
    """A method that answers once, as something to call."""
    return channel.unary_unary(
        f"/{service.full_name}/{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=reply.FromString,
    )


def stream(
    channel: grpc.Channel, service: ServiceDescriptor, method: str, reply: type[Reply]
) -> "grpc.UnaryStreamMultiCallable[Message, Reply]":
    """A method that answers as often as it likes, as something to call."""
    return channel.unary_stream(
        f"/{service.full_name}/{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=reply.FromString,
    )


def code_of(error: BaseException) -> str:
    """The name of the status that a failed call ended with, such as ``UNAVAILABLE``."""
    return error.code().name if isinstance(error, grpc.Call) else type(error).__name__


def _handler(method: MethodDescriptor, function: Handler) -> "grpc.RpcMethodHandler[Any, Any]":
    kind = (
        grpc.unary_stream_rpc_method_handler
        if method.server_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return kind(
        function,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=lambda reply: reply.SerializeToString(),
    )
