"""What can break, by subject."""
