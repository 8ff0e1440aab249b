"""Readers of the node's kernel interfaces: they return facts without conclusions."""
