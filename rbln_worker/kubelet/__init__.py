"""gRPC and protobuf of the kubelet's APIs, which stay inside this package."""
