"""The front of a DRA pool, beside rbln_worker/kubelet: slices, claims and their health."""
