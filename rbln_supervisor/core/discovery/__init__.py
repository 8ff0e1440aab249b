"""When to scan the node, for which functions, and what the results mean."""
