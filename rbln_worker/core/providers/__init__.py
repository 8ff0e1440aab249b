"""What a container needs to use a device: one provider a kind of access, each a file here.

A provider says which devices it is for, what has to be read of one, and what a container gets: pure
functions, put together in a PROVIDER. registry.py lists them.
"""
