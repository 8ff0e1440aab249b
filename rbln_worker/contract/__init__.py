"""What a supervisor and a worker must agree on, and nothing else: pure values, one encoding.

Belongs here: a type that crosses the socket between the two. Does not: anything that only one of
them needs (selectors are the supervisor's, answers to the kubelet are the worker's).
"""
