"""The worker's own process: privileges, limits, log, standard error."""
