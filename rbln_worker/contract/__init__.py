"""What supervisor and workers agree on: pure values and one encoding.

Belongs here: a type that crosses the socket between the two. Does not: anything that only one of
them needs (selectors are the supervisor's, answers to the kubelet are the worker's).
"""
