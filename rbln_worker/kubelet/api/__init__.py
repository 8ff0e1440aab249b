"""The kubelet's wire contracts: .proto files and what scripts/proto makes of them."""
