"""The kubelet's language: gRPC and protobuf stay inside this package."""
