"""Queries for events of the node."""
