"""Generated protobuf messages of the DRA services."""
