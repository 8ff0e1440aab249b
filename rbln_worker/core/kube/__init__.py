"""Decisions of the API client: errors, delays, the reading of a kubeconfig."""
