"""Everything that can break is broken, at random, under load; ``scripts/chaos`` runs it."""
