"""Health checks: their schedule, the threads that read hardware, and the verdicts."""
