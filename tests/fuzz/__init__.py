"""Any bytes at all for whatever reads bytes that strangers write, guided by what they reach."""
