"""The kubelet's APIs: .proto files, and the modules that scripts/proto generates from them."""
