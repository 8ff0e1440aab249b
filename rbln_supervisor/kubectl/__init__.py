"""``kubectl rbln``: rbln-ctl on all nodes of a cluster at once.

It runs kubectl, which finds the cluster and the credentials, and rbln-ctl in the plugin's pods. It
runs where kubectl runs, so nothing of it is loaded on a node.
"""
