"""gRPC and protobuf of the kubelet's APIs. No other package of the worker uses them."""
