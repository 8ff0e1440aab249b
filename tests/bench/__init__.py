"""How fast, how small: the real processes on simulated nodes of three sizes; scripts/bench."""
