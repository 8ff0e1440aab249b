"""The kubelet's APIs: .proto files, and the modules that scripts/proto makes from them."""
