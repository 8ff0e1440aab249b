"""What a container needs to use a device: one provider a kind of access, each a file here.

A provider is a function from facts to an Offer. registry.py says which ones a device has.
"""
