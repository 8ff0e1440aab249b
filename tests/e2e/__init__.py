"""End-to-end suites on the real thing: scripts/e2e starts them, scripts/test never collects them."""
