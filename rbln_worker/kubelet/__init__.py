"""gRPC and protobuf messages of the kubelet's APIs, which no other package uses."""
