"""Keeps one worker alive for each resource pool of the node, and tells it what its devices are."""
