"""Reads the node from its kernel: bytes become facts here, without conclusions."""
