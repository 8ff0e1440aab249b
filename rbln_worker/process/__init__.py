"""What the worker does to its own process: privileges, limits, log, standard error."""
