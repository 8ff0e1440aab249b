"""The shipped alerts and dashboard, evaluated by Prometheus while faults are injected."""
