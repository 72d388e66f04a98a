"""Recovery after lost deliveries, lost writes, lost replies and late results."""
