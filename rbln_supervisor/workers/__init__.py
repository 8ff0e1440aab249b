"""Worker processes: forked or adopted, kept in sync with their pool's state, reaped."""
