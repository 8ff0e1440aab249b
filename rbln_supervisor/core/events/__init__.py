"""Events of the node: the record, its filters, and its de-duplication."""
