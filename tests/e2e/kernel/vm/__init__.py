"""A machine under emulation that lasts as long as one command; nothing here knows of tests."""
