"""Netlink without a library: codec, links, devlink, multicast groups, uevents."""
