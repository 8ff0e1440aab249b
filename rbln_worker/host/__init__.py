"""What the node is, read from its kernel: bytes become facts here, and nothing is judged."""
